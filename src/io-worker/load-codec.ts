import type { CodecSettings } from '../shared/codec-settings.js';
import type { Codec } from './codec.js';
import { Compression } from './compression.js';
import { FixedCodec } from './fixed-codec.js';
import { FrameCodec } from './frame-codec.js';
import { LengthFieldCodec } from './length-field-codec.js';
import { LineCodec } from './line-codec.js';
import { loadModuleCodec } from './module-codec.js';
import { RawCodec } from './raw-codec.js';
import { SimpleReactorCodec } from './simple-reactor-codec.js';
import type { TimingWheel } from './timing-wheel.js';

/** Makes the codec of a server or client; loads what it needs. Rejects with ERR_REACTOR_CODEC_FAILED. */
export async function loadCodec(settings: CodecSettings, wheel: TimingWheel): Promise<Codec> {
  switch (settings.type) {
    case 'frame': {
      const { maxFrameBytes, compression, heartbeatMs } = settings;
      const loaded = compression === undefined ? undefined : await Compression.load(compression);
      return new FrameCodec(maxFrameBytes, loaded, heartbeatMs);
    }
    case 'raw':
      return new RawCodec();
    case 'line':
      return new LineCodec(settings);
    case 'length-field':
      return new LengthFieldCodec(settings);
    case 'fixed':
      return new FixedCodec(settings);
    case 'simple-reactor':
      return new SimpleReactorCodec(settings, wheel);
    case 'module':
      return loadModuleCodec(settings);
  }
}
