// Every feature of Stompede with stompjs, a few lines for each. Start the server with
//
//   stompede --user ann:pw --user bob:pw --user worker:pw \
//     --history '/topic/price/**,100,5m' --dead-letter /queue/dead \
//     --allow 'user:worker both /app/**' --allow 'user:ann publish /user/**' \
//     --deny 'any both /topic/secret/**'
//
// and, at another --listen, a second one that speaks as RabbitMQ does:
//
//   stompede --profile rabbitmq
//
// then: npm install @stomp/stompjs ws
//       node guide.mjs ws://127.0.0.1:8080/ws ws://127.0.0.1:8081/ws
import assert from 'node:assert/strict';
import { Client } from '@stomp/stompjs';
import { WebSocket } from 'ws';

Object.assign(globalThis, { WebSocket });
const [ours, rabbitmq] = process.argv.slice(2);

// A session, once it is there; `welcome` is its CONNECTED.
function connect(login, more = {}, brokerURL = ours) {
  return new Promise((resolve, reject) => {
    const connectHeaders = { login, passcode: 'pw', ...more };
    const client = new Client({ brokerURL, connectHeaders, reconnectDelay: 0 });
    client.onConnect = (welcome) => resolve(Object.assign(client, { welcome }));
    client.onStompError = (frame) => reject(new Error(frame.headers.message));
    client.activate();
  });
}

// Receipts: `act` sends a frame with this header; resolves when what it asked for is done.
let serial = 0;
function receipted(client, act) {
  const receipt = `r${(serial += 1)}`;
  return new Promise((resolve) => {
    client.watchForReceipt(receipt, resolve);
    act({ receipt });
  });
}
const send = (client, destination, body, headers = {}) =>
  receipted(client, (r) => client.publish({ destination, body, headers: { ...headers, ...r } }));

// What comes, to be taken one by one.
function inbox() {
  const [waiting, takers] = [[], []];
  const push = (message) => (takers.length ? takers.shift()(message) : waiting.push(message));
  const take = (resolve) => (waiting.length ? resolve(waiting.shift()) : takers.push(resolve));
  return { push, next: () => new Promise(take) };
}
async function subscribe(client, destination, headers = {}) {
  const box = inbox();
  box.receipt = await receipted(client, (r) => {
    box.subscription = client.subscribe(destination, box.push, { ...headers, ...r });
  });
  return box;
}

const [ann, bob, worker] = await Promise.all(['ann', 'bob', 'worker'].map((name) => connect(name)));

// Topics: everybody gets everything. A subscription may be a pattern, and choose by headers: as
// SQL does, or as Spring's users write it.
const news = await subscribe(bob, '/topic/news/**');
const large = await subscribe(bob, '/topic/orders', { selector: "amount > 100 AND kind = 'new'" });
const all = await subscribe(bob, '/topic/orders', { selector: "headers['kind'] == 'new'" });
await send(ann, '/topic/news/sport', 'goal');
await send(ann, '/topic/orders', 'small', { amount: '5', kind: 'new' });
await send(ann, '/topic/orders', 'large', { amount: '500', kind: 'new' });
assert.equal((await news.next()).headers.destination, '/topic/news/sport');
assert.equal((await large.next()).body, 'large');
assert.deepEqual([(await all.next()).body, (await all.next()).body], ['small', 'large']);

// Queues: one consumer gets each message, and again, or another, what is not acknowledged.
const oneByOne = { ack: 'client-individual', 'prefetch-count': '1' };
const jobs = await subscribe(worker, '/queue/jobs', oneByOne);
await send(ann, '/queue/jobs', 'paint', { expires: String(Date.now() + 60_000) });
(await jobs.next()).nack();
const again = await jobs.next();
assert.equal(again.headers.redelivered, 'true');
assert.equal(again.headers['delivery-count'], '2');
again.nack({ requeue: 'false' }); // no use: to the dead letters
const dead = await subscribe(worker, '/queue/dead', { exclusive: 'true' });
assert.equal((await dead.next()).headers['x-death-destination'], '/queue/jobs');

// Transactions: all of it, or nothing. Acknowledgements are part of them, too.
const transaction = ann.begin();
for (const body of ['one', 'two']) {
  ann.publish({ destination: '/queue/jobs', body, headers: { transaction: transaction.id } });
}
transaction.commit();
for (const body of ['one', 'two']) {
  const job = await jobs.next();
  assert.equal(job.body, body);
  const step = worker.begin();
  job.ack({ transaction: step.id });
  worker.publish({ destination: '/queue/done', body, headers: { transaction: step.id } });
  step.commit();
}

// ack:client acknowledges all before it, as well.
const done = await subscribe(bob, '/queue/done', { ack: 'client' });
assert.equal((await done.next()).body, 'one');
(await done.next()).ack();

// Users: every session of bob's, wherever it is. ann may, because a rule says so.
assert.equal(bob.welcome.headers['user-name'], 'bob');
const mail = await subscribe(bob, '/user/queue/mail');
await send(ann, '/user/bob/queue/mail', 'hello bob');
assert.equal((await mail.next()).body, 'hello bob');

// Request and reply: the answer comes back to this session alone, without a SUBSCRIBE.
const answers = inbox();
ann.onUnhandledMessage = answers.push;
const questions = await subscribe(bob, '/topic/questions');
await send(ann, '/topic/questions', '6 * 7?', { 'reply-to': '/temp-queue/answers' });
const { headers: question } = await questions.next();
await send(bob, question['reply-to'], '42');
assert.equal((await answers.next()).body, '42');

// Applications: a service, in any language, works for all who send to /app/.
const work = await subscribe(worker, '/app/**', oneByOne);
await send(ann, '/app/greet', 'ann', { 'reply-to': '/temp-queue/answers' });
const request = await work.next();
assert.equal(request.headers['user-name'], 'ann');
await send(worker, request.headers['reply-to'], `hello, ${request.body}`);
request.ack();
assert.equal((await answers.next()).body, 'hello, ann');

// History: what a client missed, and what a newcomer should know.
for (const body of ['1.00', '1.10', '1.20']) await send(ann, '/topic/price/x', body);
const prices = await subscribe(bob, '/topic/price/x', { replay: 'last' });
const { body, headers: seen } = await prices.next();
assert.equal(body, '1.20');
await receipted(bob, (receipt) => prices.subscription.unsubscribe(receipt));
await send(ann, '/topic/price/x', '1.30');
const since = { 'from-offset': seen.offset, epoch: seen.epoch };
const recovered = await subscribe(bob, '/topic/price/x', since);
assert.equal(recovered.receipt.headers.recovered, 'true');
assert.equal((await recovered.next()).body, '1.30');

// Slow clients: this one asks for two a second, gets the newest, and hears what it missed.
const rare = await subscribe(bob, '/topic/fast', { 'max-rate': '2/s' });
for (let n = 0; n < 20; n += 1) await send(ann, '/topic/fast', String(n));
let [received, missed] = [0, 0];
for (let newest = ''; newest !== '19'; received += 1) {
  const message = await rare.next();
  newest = message.body;
  missed += Number(message.headers.missed ?? 0);
}
assert.equal(received + missed, 20);
assert.ok(missed > 0);

// Permissions: a refused frame ends the session, unless it asked to be told softly.
const soft = await connect('bob', { 'error-mode': 'soft' });
const errors = await subscribe(soft, '/user/queue/errors');
soft.subscribe('/topic/secret/plans', () => assert.fail('nobody may read this'));
assert.equal((await errors.next()).headers['denied-destination'], '/topic/secret/plans');

// Profiles: destinations, patterns and errors as users of another broker know them.
const rabbit = await connect('guest', {}, rabbitmq);
const words = await subscribe(rabbit, '/topic/price.#');
await send(rabbit, '/exchange/amq.topic/price.x.eur', '1.40');
assert.equal((await words.next()).headers.destination, '/topic/price.x.eur');
rabbit.onStompError = (frame) => words.push(frame);
rabbit.publish({ destination: '/topic/price/x' });
assert.equal((await words.next()).body, "'/price/x' is not a valid topic destination\n");

// DISCONNECT has a receipt, too: all that was sent before it is processed.
await Promise.all([ann, bob, worker, soft].map((client) => client.deactivate()));
console.log('all of it works');
