// @ts-check
/** Charts and tables from the results of the suite: `npm run bench:charts [FILE]`. Writes docs/charts and into docs/performance.md. */

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as echarts from 'echarts';
import { withResults } from './charts/document.js';
import { groupedBars, sizeOf } from './charts/figures.js';
import { LATEST } from './suite/options.js';
import { FOREIGN_PEERS } from './suite/peer-process.js';
import { describeMachine, readResults } from './suite/results.js';

const docs = (/** @type {string} */ path) => fileURLToPath(new URL(`../docs/${path}`, import.meta.url));

/** @type {Record<string, readonly import('./charts/figures.js').Panel[]>} */
const CHARTS = {
  throughput: [
    {
      title: 'Echo throughput, compared with hand-written net with cork (more is better)',
      axis: 'ratio, median of rounds',
      base: 1,
      value: ({ ratio }) => ratio?.median ?? null,
    },
  ],
  cpu: [
    {
      title: 'CPU time of the server for a million messages (less is better)',
      axis: 'seconds, log scale',
      isLog: true,
      value: ({ median }) => median.cpuPerMillion,
    },
  ],
  latency: [
    {
      title: 'Latency, half of the messages (p50, less is better)',
      axis: 'us, log scale',
      isLog: true,
      value: ({ median }) => median.p50,
    },
    {
      title: 'Latency, all but 1 % (p99, less is better)',
      axis: 'us, log scale',
      isLog: true,
      value: ({ median }) => median.p99,
    },
  ],
};

const path = process.argv[2] ?? LATEST;
const results = readResults(path);
if (results === undefined) {
  console.error(`There are no results in ${path}: run \`npm run bench\` first`);
  process.exit(1);
}
if (results.echoes.length > 0) {
  const caption = `${describeMachine(results.machine)}, ${results.date.slice(0, 10)}`;
  // Servers in other languages are in the table: several times as fast, they would leave nothing of the differences between the others.
  const echoes = results.echoes.map((echo) => ({
    ...echo,
    peers: echo.peers.filter(({ peer }) => !FOREIGN_PEERS.has(peer)),
  }));
  mkdirSync(docs('charts'), { recursive: true });
  for (const [name, panels] of Object.entries(CHARTS)) {
    const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, ...sizeOf(panels) });
    chart.setOption(groupedBars(echoes, panels, caption));
    writeFileSync(docs(`charts/${name}.svg`), `${chart.renderToSVGString()}\n`);
    chart.dispose();
  }
}
const document = docs('performance.md');
writeFileSync(document, withResults(readFileSync(document, 'utf8'), results));
console.log(`docs/charts and docs/performance.md are made from ${path}`);
