// @ts-check
import { readdirSync, rmSync } from 'node:fs';
import { join, sep } from 'node:path';
import { defineConfig } from 'rolldown';

const OUT = 'dist';

/**
 * One file for each folder of src: an io worker that has to find, read and link more than a hundred modules takes 1.4 times as long until it
 * listens. The chunks lie in the folders of their modules, so that what these find with import.meta.url stays where it is.
 * Not minified: stack traces are read by people.
 */
export default defineConfig({
  input: {
    index: 'src/index.ts',
    'io-worker/index': 'src/io-worker/index.ts',
    'io-worker/log-backend': 'src/io-worker/log-backend.ts',
    'main/logic-worker': 'src/main/logic-worker.ts',
  },
  platform: 'node',
  // What is installed is not bundled.
  external: /^[^./]/,
  treeshake: { moduleSideEffects: false },
  output: {
    dir: OUT,
    format: 'esm',
    sourcemap: true,
    entryFileNames: '[name].js',
    chunkFileNames: '[name].js',
    codeSplitting: {
      groups: [
        // First what all threads need: with the others, each of them would take it along.
        { name: 'shared/shared', test: folder('shared'), priority: 2 },
        { name: 'main/main', test: folder('main'), priority: 1 },
        { name: 'io-worker/codec-parts', test: folder('io-worker'), minShareCount: 2 },
      ],
    },
  },
  plugins: [{ name: 'remove-modules', writeBundle: (_, bundle) => removeModules(new Set(Object.keys(bundle))) }],
});

/** @param {string} name */
function folder(name) {
  return new RegExp(`[\\\\/]src[\\\\/]${name}[\\\\/]`);
}

/**
 * The compiler has written a file for each module. Of those only the declarations are of use now, and what is loaded with require().
 * @param {ReadonlySet<string>} kept
 */
function removeModules(kept) {
  for (const path of readdirSync(OUT, { recursive: true, encoding: 'utf8' })) {
    const isModule = path.endsWith('.js') || path.endsWith('.js.map');
    if (isModule && !kept.has(path.replaceAll(sep, '/'))) rmSync(join(OUT, path));
  }
}
