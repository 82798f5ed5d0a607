// @ts-check
/** What the charts show, as options of echarts: grouped bars, a group for each scenario and a colour for each peer. */
import { PEERS } from '../suite/scenarios.js';
import { peerLabel } from '../suite/tables.js';

/** @typedef {import('../suite/results.js').EchoResult} EchoResult */
/** @typedef {import('../suite/echo.js').PeerResult} PeerResult */
/** @typedef {{ title: string, axis: string, isLog?: boolean, base?: number, value: (result: PeerResult) => number | null }} Panel */

/** Greys and browns for `net`, blues and greens for the reactor: apart from each other for those who see few colours, too. */
const COLOURS = ['#bdbdbd', '#4d4d4d', '#d8a657', '#a0522d', '#9ecae1', '#2171b5', '#1b9e77', '#7b3294'];
const TEXT = '#222';
const MUTED = '#666';
const WIDTH = 1100;
const HEAD_HEIGHT = 90;
const PANEL_HEIGHT = 300;
const PANEL_GAP = 125;
const FOOT_HEIGHT = 105;

/** @param {readonly Panel[]} panels */
export function sizeOf(panels) {
  return { width: WIDTH, height: HEAD_HEIGHT + panels.length * (PANEL_HEIGHT + PANEL_GAP) - PANEL_GAP + FOOT_HEIGHT };
}

/**
 * @param {readonly EchoResult[]} echoes
 * @param {readonly Panel[]} panels  one above the other
 * @param {string} caption
 * @returns {import('echarts').EChartsOption}
 */
export function groupedBars(echoes, panels, caption) {
  const { height } = sizeOf(panels);
  const peers = Object.keys(PEERS).filter((name) =>
    echoes.some((echo) => echo.peers.some(({ peer }) => peer === name)),
  );
  const tops = panels.map((_, index) => HEAD_HEIGHT + index * (PANEL_HEIGHT + PANEL_GAP));
  return {
    animation: false,
    backgroundColor: '#fff',
    textStyle: { fontFamily: 'sans-serif', color: TEXT },
    title: [
      ...panels.map(({ title }, index) => ({
        text: title,
        left: 20,
        top: index === 0 ? 12 : Number(tops[index]) - 42,
        textStyle: { fontSize: 16, color: TEXT },
      })),
      { text: caption, left: 20, top: height - 26, textStyle: { fontSize: 12, fontWeight: 'normal', color: MUTED } },
    ],
    legend: {
      data: peers.map(peerLabel),
      left: 20,
      top: 42,
      itemWidth: 14,
      itemHeight: 10,
      // The width of texts is estimated: fonts differ.
      itemGap: 26,
      textStyle: { color: TEXT },
    },
    grid: tops.map((top) => ({ left: 80, right: 20, top, height: PANEL_HEIGHT })),
    xAxis: panels.map((_, gridIndex) => ({
      type: 'category',
      gridIndex,
      data: echoes.map(label),
      name: 'connections x bytes x messages in flight on each',
      nameLocation: 'middle',
      nameGap: 44,
      nameTextStyle: { color: MUTED },
      axisTick: { show: false },
      axisLine: { lineStyle: { color: MUTED } },
      axisLabel: { interval: 0, color: TEXT, fontSize: 11, lineHeight: 15 },
    })),
    yAxis: panels.map(({ axis, isLog, value }, gridIndex) => ({
      type: isLog ? 'log' : 'value',
      ...(isLog && { min: powerBelow(echoes.flatMap(({ peers }) => peers.map(value))) }),
      gridIndex,
      name: axis,
      nameLocation: 'middle',
      nameGap: 58,
      nameTextStyle: { color: TEXT },
      axisLabel: { color: TEXT, formatter: (/** @type {number} */ value) => value.toLocaleString('en') },
      splitLine: { lineStyle: { color: '#e5e5e5' } },
    })),
    series: panels.flatMap((panel, index) => peers.map((name) => bars(echoes, panel, index, name))),
  };
}

/**
 * @param {readonly EchoResult[]} echoes
 * @param {Panel} panel
 * @param {number} index
 * @param {string} name
 * @returns {import('echarts').BarSeriesOption}
 */
function bars(echoes, { value, base }, index, name) {
  return {
    name: peerLabel(name),
    type: 'bar',
    silent: true,
    xAxisIndex: index,
    yAxisIndex: index,
    itemStyle: { color: COLOURS[Object.keys(PEERS).indexOf(name)] ?? MUTED },
    barGap: '0%',
    barCategoryGap: '22%',
    data: echoes.map(({ peers }) => {
      const result = peers.find(({ peer }) => peer === name);
      // On a logarithmic axis there is no place for 0.
      return (result && value(result)) || '-';
    }),
    ...(base !== undefined && {
      markLine: {
        silent: true,
        symbol: 'none',
        label: { show: false },
        lineStyle: { color: TEXT, type: 'dashed', width: 1 },
        data: [{ yAxis: base }],
      },
    }),
  };
}

/** Where bars begin that have no 0 to begin at. @param {readonly (number | null)[]} values */
function powerBelow(values) {
  const least = Math.min(...values.filter((value) => value !== null && value > 0).map(Number));
  return Number.isFinite(least) ? 10 ** (Math.ceil(Math.log10(least)) - 1) : 1;
}

/** Two lines, where there is work. @param {EchoResult} echo */
function label({ connections, bytes, window, workUs }) {
  const load = [connections, bytes, window].map((count) => count.toLocaleString('en')).join(' x ');
  return workUs === 0 ? load : `${load}\n${workUs} us of work`;
}
