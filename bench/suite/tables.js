// @ts-check
/** Figures as text, the same in the terminal and in the document. */
import { PEERS } from './scenarios.js';

export const ECHO_COLUMNS = [
  'messages/s',
  'x net, cork',
  'lowest to highest',
  'CPU s per million',
  'p50 us',
  'p99 us',
  'lost',
];

/**
 * @param {import('./echo.js').PeerResult} result
 * @returns {string[]} for ECHO_COLUMNS
 */
export function echoCells({ median, ratio }) {
  return [
    number(median.rate),
    ratio === null ? '-' : ratio.median.toFixed(2),
    ratio === null ? '-' : `${ratio.lowest.toFixed(2)} to ${ratio.highest.toFixed(2)}`,
    median.cpuPerMillion === null ? '-' : median.cpuPerMillion.toFixed(2),
    number(median.p50),
    number(median.p99),
    number(median.lost),
  ];
}

/**
 * @param {import('./statistics.js').Spread} spread
 * @returns {string}
 */
export function spreadCell({ median, lowest, highest }) {
  return lowest === highest ? number(median) : `${number(median)} (${number(lowest)} to ${number(highest)})`;
}

/** @param {string} peer */
export function peerLabel(peer) {
  return PEERS[peer] ?? peer;
}

/**
 * For the terminal.
 * @param {readonly string[]} head
 * @param {readonly (readonly string[])[]} rows
 */
export function textTable(head, rows) {
  const widths = head.map((title, column) =>
    Math.max(...[head, ...rows].map((row) => row[column]?.length ?? 0), title.length),
  );
  const line = (/** @type {readonly string[]} */ cells) =>
    cells
      // Names to the left, figures to the right.
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ');
  return [line(head), widths.map((width) => '-'.repeat(width)).join('  '), ...rows.map(line)].join('\n');
}

/** As many digits as mean something. @param {number | null} value */
function number(value) {
  // JSON has no NaN: what could not be measured comes back as null.
  if (value === null || Number.isNaN(value)) return '-';
  const maximumFractionDigits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toLocaleString('en', { maximumFractionDigits });
}
