// The demo page in a real browser (chromium by playwright-core); addresses come from scripts/e2e/run.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { Client } from '@stomp/stompjs';
import { chromium } from 'playwright-core';
import { WebSocket } from 'ws';

Object.assign(globalThis, { WebSocket });

let context;
let page;
const complaints = [];

before(async () => {
  context = await chromium.launchPersistentContext(process.env.E2E_PROFILE, {
    executablePath: process.env.E2E_CHROMIUM,
    headless: true,
    chromiumSandbox: false,
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
  page = context.pages()[0] ?? (await context.newPage());
  page.setDefaultTimeout(15_000);
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (line) => {
    // Browsers ask for an icon by themselves; that answer is not the page's doing.
    const icon = line.location().url.endsWith('/favicon.ico');
    if (line.type() === 'error' && !icon) complaints.push(line.text());
  });
});

after(async () => {
  await context?.close();
});

function arrived(body) {
  return page.locator('#messages li', { hasText: body }).first().waitFor();
}

test('the page connects', async () => {
  const response = await page.goto(process.env.E2E_PAGE);
  assert.equal(response.status(), 200);
  await page.locator('#state[data-state="subscribed"]').waitFor();
  assert.equal(await page.locator('#destination').inputValue(), '/topic/demo');
});

test('what the page publishes arrives on the page', async () => {
  await page.locator('#message').fill('from the page');
  await page.locator('#publish').click();
  await arrived('from the page');
});

test('what stompjs publishes arrives on the page, and the other way round', async () => {
  const client = new Client({ brokerURL: process.env.E2E_WS, reconnectDelay: 0 });
  try {
    const heard = new Promise((resolve, reject) => {
      client.onStompError = (frame) => reject(new Error(frame.headers.message));
      client.onWebSocketClose = (event) => reject(new Error(`closed with ${event.code}`));
      client.onConnect = () => {
        client.watchForReceipt('subscribed', async () => {
          try {
            client.publish({ destination: '/topic/demo', body: 'from stompjs' });
            await arrived('from stompjs');
            await page.locator('#message').fill('for stompjs: <b>ü</b>');
            await page.locator('#publish').click();
          } catch (error) {
            reject(error);
          }
        });
        client.subscribe(
          '/topic/demo',
          (message) => message.body.startsWith('for stompjs') && resolve(message.body),
          { receipt: 'subscribed' },
        );
      };
      setTimeout(() => reject(new Error('nothing heard for 20 s')), 20_000).unref();
    });
    client.activate();
    assert.equal(await heard, 'for stompjs: <b>ü</b>');
    await arrived('for stompjs: <b>ü</b>');
    assert.equal(await page.locator('#messages b').count(), 0, 'bodies are text, not markup');
  } finally {
    client.onWebSocketClose = () => {};
    await client.deactivate({ force: true });
  }
});

test('another destination is another stream', async () => {
  await page.locator('#destination').fill('/topic/demo/other');
  await page.locator('#subscribe').click();
  await page.locator('#state[data-destination="/topic/demo/other"]').waitFor();
  await page.locator('#message').fill('elsewhere');
  await page.locator('#publish').click();
  await arrived('elsewhere');
});

test('the page speaks by whatever transport is chosen', async () => {
  for (const transport of ['streaming', 'polling', 'websocket']) {
    await page.locator('#transport').selectOption(transport);
    await page.locator(`#state[data-state="subscribed"][data-transport="${transport}"]`).waitFor();
    for (const round of [1, 2]) {
      await page.locator('#message').fill(`by ${transport} ${round}: "ü" 100%`);
      await page.locator('#publish').click();
      await arrived(`by ${transport} ${round}: "ü" 100%`);
    }
  }
});

test('a transport that the server has not is named, and another one connects', async () => {
  const poor = await context.newPage();
  await poor.goto(process.env.E2E_PAGE_POOR);
  await poor.locator('#transport').selectOption('streaming');
  await poor.locator('#notice', { hasText: 'No connection by streaming. The server answers 404' }).waitFor();
  await poor.locator('#transport').selectOption('polling');
  await poor.locator('#state[data-state="subscribed"][data-transport="polling"]').waitFor();
  assert.equal(await poor.locator('#notice').isVisible(), false);
  await poor.close();
});

test('the browser had nothing to complain about', () => {
  assert.deepEqual(complaints, []);
});

// Catalogue: C18.
test('a page of another site opens nothing', async () => {
  const other = await context.newPage();
  // A page without a policy of its own, that could connect to wherever it likes.
  await other.goto(`${process.env.E2E_SOCKJS}/echo/`);
  const opens = (url) =>
    other.evaluate(
      (target) =>
        new Promise((resolve) => {
          const socket = new WebSocket(target);
          socket.onopen = () => resolve(true);
          socket.onerror = () => resolve(false);
        }),
      url,
    );
  const reads = (url) =>
    other.evaluate((target) => fetch(target, { credentials: 'include' }).then(() => true, () => false), url);
  const own = process.env.E2E_SOCKJS;
  assert.equal(await opens(`${own.replace('http', 'ws')}/ws`), true, 'its own');
  assert.equal(await reads(`${own}/sockjs/info`), true, 'its own');
  assert.equal(await opens(process.env.E2E_WS), false);
  assert.equal(await reads(`${process.env.E2E_PAGE}sockjs/info`), false);
  await other.close();
});

// What runs in the page: one session, whose messages and end can be waited for.
function begin(service, transport) {
  const socket = new SockJS(service, null, { transports: [transport], timeout: 15_000 });
  const seen = [];
  let wake = () => {};
  socket.onmessage = (event) => {
    seen.push(event.data);
    wake();
  };
  const closed = new Promise((resolve) => {
    socket.onclose = ({ code, reason, wasClean }) => resolve({ code, reason, wasClean });
  });
  const opened = new Promise((resolve, reject) => {
    socket.onopen = () => resolve(socket.transport);
    closed.then(({ code, reason }) => reject(new Error(`closed with ${code} ${reason}`)));
  });
  opened.catch(() => {});
  const reach = (enough) => {
    const reached = new Promise((resolve) => {
      wake = () => enough(seen) && resolve(seen);
      wake();
    });
    const early = closed.then(({ code }) => Promise.reject(new Error(`${code}, ${seen.length} seen`)));
    return Promise.race([reached, early]);
  };
  return { socket, closed, opened, reach };
}

const SOCKJS_TRANSPORTS = [
  'websocket',
  'xhr-streaming',
  'eventsource',
  'iframe-eventsource',
  'htmlfile',
  'iframe-htmlfile',
  'xhr-polling',
  'iframe-xhr-polling',
  'jsonp-polling',
];

for (const transport of SOCKJS_TRANSPORTS) {
  test(`sockjs-client by ${transport}: echo, broadcast, large, close and again`, async () => {
    const client = createRequire(import.meta.url).resolve('sockjs-client/dist/sockjs.min.js');
    const sockjs = await context.newPage();
    // The greeting: a page of the server's own origin, without a policy against our script.
    await sockjs.goto(`${process.env.E2E_SOCKJS}/echo/`);
    await sockjs.addScriptTag({ path: client });
    await sockjs.addScriptTag({ content: `window.begin = ${begin}` });
    const outcome = await sockjs.evaluate(async (name) => {
      const outcome = {};
      const echo = window.begin('/echo', name);
      outcome.used = await echo.opened;
      const texts = ['a', '"\\\b\n', '100%41', '</script><!--', '\u{1f600}\u2028', 'é"'.repeat(20_000)];
      for (let i = 0; i < 60; i += 1) texts.push(`${i} ${'x'.repeat(100)}`);
      texts.forEach((text) => echo.socket.send(text));
      const seen = await echo.reach((all) => all.length === texts.length);
      outcome.isSame = seen.every((text, i) => text === texts[i]);
      echo.socket.close();
      outcome.left = (await echo.closed).code;

      const [one, other] = [name, 'websocket'].map((used) => window.begin('/broadcast', used));
      await Promise.all([one.opened, other.opened]);
      const word = `by ${name} ${Math.random()}`;
      one.socket.send(word);
      await Promise.all([one, other].map((all) => all.reach((heard) => heard.includes(word))));
      [one, other].forEach(({ socket }) => socket.close());

      const large = window.begin('/amplify', name);
      await large.opened;
      large.socket.send('18');
      outcome.large = (await large.reach((all) => all.length === 1))[0].length;
      large.socket.close();
      await large.closed;

      outcome.closed = await window.begin('/close', name).closed;
      const again = window.begin('/echo', name);
      await again.opened;
      again.socket.send('again');
      outcome.again = (await again.reach((all) => all.length === 1))[0];
      again.socket.close();
      await again.closed;
      return outcome;
    }, transport);
    assert.deepEqual(outcome, {
      used: transport,
      isSame: true,
      left: 1000,
      large: 2 ** 18,
      closed: { code: 3000, reason: 'Go away!', wasClean: true },
      again: 'again',
    });
    await sockjs.close();
  });
}
