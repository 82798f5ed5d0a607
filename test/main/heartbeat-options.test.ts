import { expect } from 'chai';
import { checkHeartbeat, heartbeat, heartbeatSettings } from '../../src/main/heartbeat-options.js';

const DAY_MS = 86_400_000;

describe("option 'heartbeat'", () => {
  function settingsOf(options: Parameters<typeof heartbeatSettings>[0]): ReturnType<typeof heartbeatSettings> {
    expect(heartbeat(options, 'heartbeat', 'listen()')).to.equal(undefined);
    checkHeartbeat('listen()', 'frame', options);
    return heartbeatSettings(options);
  }

  it('takes the longest interval and the longest timeout, with or without the other one', () => {
    for (const options of [
      { intervalMs: DAY_MS },
      { timeoutMs: 3 * DAY_MS },
      { intervalMs: DAY_MS, timeoutMs: 3 * DAY_MS },
    ]) {
      expect(settingsOf(options)).to.include({ intervalMs: DAY_MS, timeoutMs: 3 * DAY_MS });
    }
    expect(() => settingsOf({ intervalMs: DAY_MS + 1 })).to.throw(
      "'heartbeat.intervalMs' must be an integer from 10 to",
    );
    expect(() => settingsOf({ timeoutMs: 3 * DAY_MS + 1 })).to.throw(
      "'heartbeat.timeoutMs' must be an integer from 20",
    );
  });

  it('takes the shortest ones', () => {
    expect(settingsOf({ intervalMs: 10 })).to.include({ intervalMs: 10, timeoutMs: 30 });
    expect(settingsOf({ timeoutMs: 20 })).to.include({ intervalMs: 7, timeoutMs: 20 });
  });
});
