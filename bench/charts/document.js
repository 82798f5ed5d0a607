// @ts-check
/** The part of docs/performance.md that is made from results. */
import { describeMachine } from '../suite/results.js';
import { describe } from '../suite/scenarios.js';
import { ECHO_COLUMNS, echoCells, peerLabel, spreadCell } from '../suite/tables.js';

const MARKER = '<!-- results -->';
const CHARTS = [
  ['Throughput, as a ratio to net with cork', 'charts/throughput.svg'],
  ['CPU seconds of the server for a million messages', 'charts/cpu.svg'],
  ['Latency', 'charts/latency.svg'],
];

/**
 * @param {string} text  of the document, with the marker twice
 * @param {import('../suite/results.js').Results} results
 */
export function withResults(text, results) {
  const parts = text.split(MARKER);
  if (parts.length !== 3)
    throw new Error(`The document must have ${MARKER} twice, it has it ${parts.length - 1} times`);
  return [parts[0], `\n\n${resultsText(results)}\n\n`, parts[2]].join(MARKER);
}

/** @param {import('../suite/results.js').Results} results */
function resultsText({ machine, date, echoes, measurements }) {
  const blocks = [`${describeMachine(machine)}, ${date.slice(0, 10)}. ${conditionsOf([...echoes, ...measurements])}`];
  if (echoes.length > 0) {
    blocks.push(CHARTS.map(([title, path]) => `![${title}](${path})`).join('\n\n'));
    const rows = echoes.flatMap((echo) =>
      echo.peers.map((result, index) => [
        index === 0 ? describe(echo) : '',
        peerLabel(result.peer),
        ...echoCells(result),
      ]),
    );
    blocks.push(markdownTable(['connections x bytes x in flight', 'server', ...ECHO_COLUMNS], rows, 2));
  }
  for (const { title, columns, rows } of measurements) {
    const cells = rows.map((row) => [peerLabel(row.name), ...row.cells.map(spreadCell)]);
    blocks.push(`### ${title}`, markdownTable(['', ...columns], cells, 1));
  }
  return blocks.join('\n\n');
}

/** @param {readonly import('../suite/results.js').Conditions[]} all */
function conditionsOf(all) {
  const texts = all.map(({ rounds, seconds, load }) => {
    const how = rounds === 1 ? 'One round' : `Medians of ${rounds} rounds`;
    return `${how} of ${seconds} s; the load came from a ${load} process.`;
  });
  // A scenario that was measured again may have been so in another way.
  return [...new Set(texts)].join(' Some of it: ');
}

/**
 * As formatters of Markdown would have it.
 * @param {readonly string[]} head
 * @param {readonly (readonly string[])[]} rows
 * @param {number} names  so many columns are names, and are set to the left
 */
function markdownTable(head, rows, names) {
  const widths = head.map((_, column) => Math.max(4, ...[head, ...rows].map((row) => row[column]?.length ?? 0)));
  const line = (/** @type {readonly string[]} */ cells) =>
    `| ${cells.map((cell, column) => pad(cell, widths[column] ?? 0, column < names)).join(' | ')} |`;
  const rule = widths.map((width, column) => (column < names ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`));
  return [line(head), line(rule), ...rows.map(line)].join('\n');
}

/**
 * @param {string} text
 * @param {number} width
 * @param {boolean} isLeft
 */
function pad(text, width, isLeft) {
  return isLeft ? text.padEnd(width) : text.padStart(width);
}
