import { expect } from 'chai';
import { type FlowOwner, InboundFlow } from '../../src/main/inbound-flow.js';

/** Writes down what it is handed, and flows when it is told to. */
class Owner implements FlowOwner {
  readonly told: string[] = [];
  readonly soonFlows: (() => boolean)[] = [];
  onMessage: (text: string) => void = () => undefined;

  hasListener = (): boolean => true;
  hasRequestListener = (): boolean => true;
  onReading = (): void => undefined;
  onTaken = (): void => undefined;
  onMessagesDone = (): void => undefined;
  onSettled = (): void => undefined;
  emitBehindMessages = (): boolean => false;

  emitMessage(message: Buffer): boolean {
    this.told.push(`message ${message}`);
    this.onMessage(String(message));
    return true;
  }

  emitRequest(request: Buffer): void {
    this.told.push(`request ${request}`);
  }

  soon(flow: () => boolean): void {
    this.soonFlows.push(flow);
  }

  /** Whether anything was handed out. */
  microtasks(): boolean[] {
    return this.soonFlows.splice(0).map((flow) => flow());
  }
}

describe('InboundFlow', () => {
  let owner: Owner;
  let flow: InboundFlow;
  const message = (text: string): void => flow.push(Buffer.from(text), false);
  const request = (text: string): void => flow.pushRequest(Buffer.from(text));

  beforeEach(() => {
    owner = new Owner();
    flow = new InboundFlow(owner);
    flow.start();
  });

  it('does not let a message overtake a request that waits for the present handler', () => {
    flow.pause();
    request('1');
    flow.resume();
    message('2');
    expect(owner.told).to.deep.equal([]);
    owner.microtasks();
    expect(owner.told).to.deep.equal(['request 1', 'message 2']);
    message('3');
    expect(owner.told.at(-1)).to.equal('message 3');
  });

  it('says whether there was anything to hand out', () => {
    flow.pause();
    message('1');
    flow.resume();
    flow.flowSoon();
    expect(owner.microtasks()).to.deep.equal([true, false]);
    expect(owner.told).to.deep.equal(['message 1']);
  });

  it('goes on soon behind a message whose handler has thrown', () => {
    flow.pause();
    message('1');
    message('2');
    owner.onMessage = (text) => {
      if (text === '1') throw new Error('thrown');
    };
    expect(() => {
      flow.resume();
      owner.microtasks();
    }).to.throw('thrown');
    expect(owner.microtasks()).to.include(true);
    expect(owner.told).to.deep.equal(['message 1', 'message 2']);
  });
});
