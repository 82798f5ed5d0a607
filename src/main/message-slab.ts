import { bufferView } from '../shared/buffer-view.js';
import type { SharedMemory } from '../shared/shared-memory.js';

const SLAB_BYTES = 256 * 1024;
const ALIGNMENT = 8;

/**
 * Copies what lies in a ring into ordinary memory. One slab serves many copies: an allocation for each would cost more than
 * the copy.
 */
export class MessageSlab {
  #slab: Buffer = Buffer.allocUnsafeSlow(SLAB_BYTES);
  #slabMemory: ArrayBufferLike = this.#slab.buffer;
  #used = 0;

  copy(memory: SharedMemory, offset: number, length: number): Buffer {
    // Alike modulo 8 with the source: shared-memory.ts says why.
    const start = this.#used + ((offset - this.#used) & (ALIGNMENT - 1));
    if (start + length > SLAB_BYTES) {
      if (length > SLAB_BYTES / 4) {
        const own = Buffer.allocUnsafeSlow(length);
        memory.copyOut(offset, length, own, 0);
        return own;
      }
      this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
      this.#slabMemory = this.#slab.buffer;
      this.#used = 0;
      return this.copy(memory, offset, length);
    }
    memory.copyOut(offset, length, this.#slab, start);
    this.#used = start + length;
    return bufferView(this.#slabMemory, start, length);
  }
}
