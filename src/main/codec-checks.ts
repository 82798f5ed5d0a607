import { lengthFieldFault } from '../shared/codec-settings.js';
import { ReactorError } from '../shared/reactor-error.js';
import { type Check, type Checks, check, DAY_MS, flag, integer, isPlainObject, need, oneOf } from './checks.js';
import {
  type CodecRelatedOptions,
  type CompressionOptions,
  codecSettings,
  type FixedCodecOptions,
  type LengthFieldCodecOptions,
  type LineCodecOptions,
  type ModuleCodecOptions,
  type SimpleReactorCodecOptions,
} from './codec-options.js';
import { checkHeartbeat } from './heartbeat-options.js';

const MIB = 1024 * 1024;
const MAX_DELIMITER_BYTES = 16;
const MAX_DICTIONARY_BYTES = 64 * 1024;

const delimiter: Check = (value) => {
  const isBytes = typeof value === 'string' || value instanceof Uint8Array;
  const length = isBytes ? Buffer.byteLength(value as string) : 0;
  return length >= 1 && length <= MAX_DELIMITER_BYTES ? undefined : 'a string or a Uint8Array of 1 to 16 bytes';
};

/** What is likely to be a path, and short enough to show how it becomes a URL. */
const PATH = /^[\w./-]{1,60}$/;

/** @param example a path for those who have given none */
export function moduleUrl(example: string): Check {
  return (value) => {
    if (value instanceof URL || (typeof value === 'string' && URL.canParse(value))) return undefined;
    const path = typeof value === 'string' && PATH.test(value) ? value : example;
    return `a URL, such as new URL("${path}", import.meta.url)`;
  };
}

export const posted: Check = (value) => {
  try {
    structuredClone(value);
    return undefined;
  } catch {
    return 'something that can be posted to a thread: no functions, for example';
  }
};

/** By `type`, without it. */
const forms: { readonly [type: string]: { readonly checks: object; readonly needs?: string } } = {
  frame: { checks: {} },
  raw: { checks: {} },
  line: {
    checks: { delimiter, maxBytes: integer(1, 512 * MIB) } satisfies Checks<Omit<LineCodecOptions, 'type'>>,
  },
  'length-field': {
    checks: {
      offset: integer(0, 65_535),
      bytes: integer(1, 8),
      endian: oneOf('big', 'little'),
      adjustment: integer(-512 * MIB, 512 * MIB),
      strip: integer(0, 65_535),
    } satisfies Checks<Omit<LengthFieldCodecOptions, 'type'>>,
    needs: 'bytes',
  },
  fixed: { checks: { bytes: integer(1, 16 * MIB) } satisfies Checks<Omit<FixedCodecOptions, 'type'>>, needs: 'bytes' },
  'simple-reactor': {
    checks: { compress: flag, heartbeatMs: integer(10, DAY_MS) } satisfies Checks<
      Omit<SimpleReactorCodecOptions, 'type'>
    >,
  },
};
const SHORT_FORMS = ['frame', 'raw', 'line', 'simple-reactor'];

const moduleForm: Checks<ModuleCodecOptions> = { module: moduleUrl('./my-codec.js'), options: posted };

const ALLOWED = `one of ${SHORT_FORMS.map((form) => `'${form}'`).join(', ')}, an object with one of the types ${Object.keys(
  forms,
).join(', ')}, or an object with a module`;

export const codec: Check = (value, path, call) => {
  if (typeof value === 'string') return SHORT_FORMS.includes(value) ? undefined : ALLOWED;
  if (!isPlainObject(value)) return ALLOWED;
  if ('module' in value) {
    check(call, value, moduleForm, `${path}.`);
    need(call, value, 'module', `${path}.`);
    return undefined;
  }
  const { type, ...options } = value as { type?: unknown };
  const form = typeof type === 'string' && Object.hasOwn(forms, type) ? forms[type] : undefined;
  if (form === undefined) return ALLOWED;
  check(call, options, form.checks as Checks<object>, `${path}.`);
  if (form.needs !== undefined) need(call, options, form.needs, `${path}.`);
  return undefined;
};

const compressionForm: Checks<CompressionOptions> = {
  thresholdBytes: integer(0, 512 * MIB),
  dictionary: (value) =>
    value instanceof Uint8Array && value.length >= 1 && value.length <= MAX_DICTIONARY_BYTES
      ? undefined
      : `a Uint8Array of 1 to ${MAX_DICTIONARY_BYTES} bytes`,
};

export const compression: Check = (value, path, call) => {
  if (typeof value === 'boolean') return undefined;
  if (!isPlainObject(value)) return 'true, false or an object';
  check(call, value, compressionForm, `${path}.`);
  return undefined;
};

/** What single options cannot tell: whether they go together. */
export function checkCodec(call: string, options: CodecRelatedOptions): void {
  const settings = codecSettings(options);
  const { type } = settings;
  if (type !== 'frame' && options.compression !== undefined && options.compression !== false) {
    const message = `${call}: option 'compression' goes with codec 'frame' only, this one is '${type}'`;
    throw new ReactorError('ERR_REACTOR_INVALID_OPTION', message);
  }
  checkHeartbeat(call, type, options.heartbeat);
  const fault = type === 'length-field' ? lengthFieldFault(settings) : undefined;
  if (fault === undefined) return;
  throw new ReactorError('ERR_REACTOR_INVALID_OPTION', `${call}: option 'codec' cannot work: ${fault}`);
}
