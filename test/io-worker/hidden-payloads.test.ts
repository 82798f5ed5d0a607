import { expect } from 'chai';
import { hidePayloads } from '../../src/io-worker/hidden-payloads.js';

const SECRET = Buffer.from('secret');
const HIDDEN = '[6 bytes]';

describe('payloads in the fields of a line', () => {
  it('are hidden at every depth', () => {
    const fields = {
      a: SECRET,
      b: { c: SECRET, d: [1, SECRET, { e: SECRET }] },
      f: 'text',
      g: null,
      h: undefined,
      i: 1n,
    };
    expect(hidePayloads(fields, 0)).to.deep.equal({
      a: HIDDEN,
      b: { c: HIDDEN, d: [1, HIDDEN, { e: HIDDEN }] },
      f: 'text',
      g: null,
      h: undefined,
      i: 1n,
    });
    expect(fields.b.c).to.equal(SECRET);
  });

  it('are hidden whatever view of bytes they are', () => {
    const copy = new Uint8Array(SECRET);
    const views = [copy, new DataView(copy.buffer), new Uint16Array(copy.buffer), copy.buffer];
    expect(hidePayloads({ views }, 0)).to.deep.equal({ views: views.map(() => HIDDEN) });
  });

  it('are shown as far as it is told, at every depth', () => {
    expect(hidePayloads({ a: { b: SECRET } }, 2)).to.deep.equal({ a: { b: '7365... [6 bytes]' } });
    expect(hidePayloads({ a: { b: SECRET } }, 6)).to.deep.equal({ a: { b: '736563726574' } });
  });

  it('are hidden in what JSON would make of an object, in maps and in sets', () => {
    const date = new Date(0);
    const fields = {
      a: { toJSON: () => ({ b: SECRET }) },
      map: new Map([['c', SECRET]]),
      set: new Set([SECRET]),
      date,
    };
    expect(hidePayloads(fields, 0)).to.deep.equal({
      a: { b: HIDDEN },
      map: new Map([['c', HIDDEN]]),
      set: new Set([HIDDEN]),
      date,
    });
  });

  it('are hidden in errors, which stay errors', () => {
    const cause = Object.assign(new RangeError('inner'), { packet: SECRET });
    const error = Object.assign(new TypeError('outer', { cause }), { code: 'E_OUTER', packet: SECRET });
    const { err } = hidePayloads({ err: error }, 0) as { err: typeof error };
    expect(err).to.be.an.instanceOf(TypeError);
    expect(err).to.include({ message: 'outer', stack: error.stack, code: 'E_OUTER', packet: HIDDEN });
    expect(Object.keys(err)).to.deep.equal(['code', 'packet']);
    expect(err.cause).to.be.an.instanceOf(RangeError).that.includes({ message: 'inner', packet: HIDDEN });
    expect(structuredClone(err)).to.be.an.instanceOf(TypeError);
  });

  it('deep down they are not looked for: what is there is not written either', () => {
    let fields: object = { payload: SECRET };
    for (let depth = 0; depth < 100_000; depth++) fields = { fields };
    expect(JSON.stringify(hidePayloads(fields, 0))).to.equal(
      '{"fields":{"fields":{"fields":{"fields":{"fields":{"fields":"[Object]"}}}}}}',
    );
  });

  it('circles stay circles, and nothing is gone through twice', () => {
    const nodes = Array.from({ length: 100 }, () => ({ payload: SECRET, all: [] as unknown[] }));
    for (const node of nodes) node.all = nodes;
    const { node } = hidePayloads({ node: nodes[0] }, 0) as { node: { payload: string; all: unknown[] } };
    expect(node.payload).to.equal(HIDDEN);
    expect(node.all[0]).to.equal(node);
  });
});
