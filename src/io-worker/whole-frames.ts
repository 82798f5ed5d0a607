import { FRAME_LENGTH_BYTES } from '../shared/frame-format.js';
import { readU32 } from '../shared/shared-memory.js';

/** Where the frame that begins at `start` ends. It is whole: it has been decoded. */
export function frameEnd(frames: Uint8Array, start: number): number {
  return start + FRAME_LENGTH_BYTES + readU32(frames, start);
}

export function countFrames(frames: Uint8Array): number {
  let count = 0;
  for (let at = 0; at < frames.length; at = frameEnd(frames, at)) count++;
  return count;
}

/** What is left without those that have certain places; `first` is the place of the first frame. */
export function withoutFrames(frames: Buffer, first: number, places: ReadonlySet<number>): Buffer {
  if (places.size === 0) return frames;
  const left: Buffer[] = [];
  let place = first;
  for (let at = 0; at < frames.length; at = frameEnd(frames, at)) {
    if (!places.has(place++)) left.push(frames.subarray(at, frameEnd(frames, at)));
  }
  return Buffer.concat(left);
}
