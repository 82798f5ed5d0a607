/** What TypeScript makes of the public types. Most of it is checked when this compiles. */
import { expect } from 'chai';
import {
  defineLogic,
  defineService,
  type Logic,
  type LogicContext,
  type ServiceConnection,
  type ServiceContext,
  type ServiceDefinition,
} from '../../src/index.js';

/** True if both are the same type, also where one of them is `any` or `unknown`. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

/** Compiles if its type argument is true. */
function holds<_Claim extends true>(): void {}

interface Visitor {
  visits: number;
}

interface Settings {
  readonly most: number;
}

describe('types', () => {
  it('of a service: data and options, wherever it meets them', () => {
    const hooks: ServiceDefinition<Visitor, Settings> = {
      name: 'visits',
      start(context) {
        holds<Same<typeof context, ServiceContext<Settings, Visitor>>>();
        holds<Same<typeof context.options, Settings>>();
        for (const connection of context.connections) holds<Same<typeof connection.data, Visitor>>();
      },
      onOpen(connection) {
        connection.data = { visits: 0 };
        holds<Same<typeof connection, ServiceConnection<Visitor, Settings>>>();
        holds<Same<typeof connection.context.options, Settings>>();
        for (const other of connection.context.connections) {
          holds<Same<typeof other, ServiceConnection<Visitor, Settings>>>();
        }
      },
      onMessage(connection) {
        return ++connection.data.visits > connection.context.options.most;
      },
    };
    const service = defineService<Visitor, Settings>(hooks);
    holds<Same<typeof service, ServiceDefinition<Visitor, Settings>>>();
    expect(service).to.equal(hooks);
  });

  it('of a service that says nothing of them: unknown', () => {
    const service = defineService({
      name: 'plain',
      start(context) {
        holds<Same<typeof context, ServiceContext>>();
      },
      onOpen(connection) {
        connection.data = { visits: 0 };
        holds<Same<typeof connection.data, unknown>>();
        holds<Same<typeof connection.context.options, unknown>>();
        // @ts-expect-error it may be anything
        return connection.data.visits;
      },
    });
    holds<Same<typeof service, ServiceDefinition>>();
  });

  it('of a service: what has both goes where less is known', () => {
    const list: (connection: ServiceConnection<Visitor>) => number = ({ data }) => data.visits;
    let kept: ServiceContext | undefined;
    defineService<Visitor, Settings>({
      name: 'keeps',
      start(context) {
        kept = context;
      },
      onClose: (connection) => void list(connection),
    });
    expect(kept).to.equal(undefined);
  });

  it('of logic: the data that its pool was started with', () => {
    const logic = defineLogic<Settings>({
      start(context) {
        holds<Same<typeof context, LogicContext<Settings>>>();
        holds<Same<typeof context.data, Settings>>();
      },
    });
    holds<Same<typeof logic, Logic<Settings>>>();
    const plain = defineLogic({
      start(context) {
        holds<Same<typeof context.data, unknown>>();
        // @ts-expect-error it may be anything
        return context.data.most;
      },
    });
    holds<Same<typeof plain, Logic>>();
  });
});
