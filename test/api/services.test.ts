import { expect } from 'chai';
import { next, nextText, texts } from '../fixtures/events.js';
import { HOST, pattern, scene } from '../fixtures/scene.js';
import type { ServiceManner } from '../fixtures/service-module.js';

const MODULE = new URL('../fixtures/service-module.js', import.meta.url);

function commands(manner?: ServiceManner): { module: URL; options: ServiceManner | undefined } {
  return { module: MODULE, options: manner };
}

describe('a service', () => {
  const stage = scene();

  it('answers messages on the io worker, and passes on what it does not handle', async () => {
    const { near, far } = await stage.pair({ server: { services: [MODULE] } });
    const heard = texts(far);
    const answers = texts(near);
    for (const text of ['echo 1', 'app 2', 'echo 3', 'echo 4', 'app 5', 'app 6', 'count']) near.send(text);
    expect(await answers.reaches(4)).to.deep.equal(['echo 1', 'echo 3', 'echo 4', '7']);
    expect(await heard.reaches(3)).to.deep.equal(['app 2', 'app 5', 'app 6']);
  });
});
void [next, nextText, HOST, pattern, commands];
