import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect } from 'chai';
import { LogicPool } from '../../src/index.js';
import { next, nextConnection } from '../fixtures/events.js';
import { frame, HELLO } from '../fixtures/raw-peer.js';
import { HOST, scene } from '../fixtures/scene.js';

const CODEC = `{ create: () => ({
  maxMessageBytes: 100,
  open: (channel) => ({
    decode: (bytes, start, end) => (channel.message(bytes, start, end) ? end : start),
    incomplete() {},
    encode: (message, output) => output.write(message),
  }),
}) }`;
const SERVICE = `{ name: 'echo', onMessage: (connection, data) => (connection.send(data), true) }`;
const LOGIC = `{ onMessage: (connection, data) => void connection.send(data) }`;

/** What compilers make of \`export default\`, and what is written by hand. */
const forms = {
  'that a compiler has made': (what: string) => `"use strict";
    Object.defineProperty(exports, "__esModule", { value: true });
    exports.default = ${what};`,
  'written by hand': (what: string) => `module.exports = ${what};`,
};

describe('a module of the user in CommonJS', () => {
  const stage = scene();
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'simple-reactor-cjs-'));
  });

  after(() => rm(folder, { recursive: true, force: true }));

  let number = 0;

  async function write(text: string): Promise<URL> {
    const path = join(folder, `module-${number++}.cjs`);
    await writeFile(path, text);
    return pathToFileURL(path);
  }

  for (const [name, form] of Object.entries(forms)) {
    it(`${name} may be a codec`, async () => {
      const { server, peer } = await stage.accepted({ codec: { module: await write(form(CODEC)) } });
      const heard = next(server, 'message');
      peer.write(Buffer.from('hello'));
      const [, data] = await heard;
      expect(String(data)).to.equal('hello');
    });

    it(`${name} may be a service`, async () => {
      const server = await stage.listen({ services: [await write(form(SERVICE))] });
      const [, peer] = await Promise.all([nextConnection(server), stage.connectRaw(server.address.port)]);
      peer.read().write(Buffer.concat([HELLO, frame('hello')]));
      expect(await peer.texts.reaches(1)).to.deep.equal(['hello']);
    });

    it(`${name} may be logic`, async () => {
      const server = await stage.listen({ dispatch: 'balance' });
      const pool = await LogicPool.start(server, { filename: await write(form(LOGIC)), threads: 1 });
      stage.defer(() => pool.close({ timeoutMs: 0 }));
      const connection = await stage.client().connect({ host: HOST, port: server.address.port });
      const answer = next<[Buffer]>(connection, 'message');
      connection.send('hello');
      expect(String((await answer)[0])).to.equal('hello');
    });
  }
});
