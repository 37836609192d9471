// client.js CONNECTIONS: a client of lib/peer.py's protocol at $PEER and $PEER6, port 7000.
'use strict';
const assert = require('assert');
const crypto = require('crypto');
const dgram = require('dgram');
const net = require('net');
const { once } = require('events');

const PORT = 7000;
const { PEER, PEER6, UNREACHABLE, UNREACHABLE6, NO_ROUTE } = process.env;
const bytes = Number(process.env.TRANSFER_BYTES);
const connections = Number(process.argv[2]);
const md5 = (data) => crypto.createHash('md5').update(data).digest('hex');
const ok = (...words) => console.log('ok:', ...words);

async function connect(host, port = PORT, options = {}) {
  const socket = net.connect({ host, port, allowHalfOpen: true, ...options });
  await once(socket, 'connect');
  return socket;
}

// What came, by count of bytes or until the end.
class Reader {
  constructor(socket) {
    this.iterator = socket.iterator({ destroyOnReturn: false });
    this.rest = Buffer.alloc(0);
  }

  async take(count) {
    const parts = [this.rest];
    let length = this.rest.length;
    while (length < count) {
      const { value, done } = await this.iterator.next();
      if (done) break;
      parts.push(value);
      length += value.length;
    }
    const all = Buffer.concat(parts);
    this.rest = all.subarray(count);
    return all.subarray(0, count);
  }

  async line() {
    return (await this.take(33)).toString().trimEnd();
  }
}

// In parts, as write() and 'drain' allow: how often the socket asked to wait.
async function write(socket, data) {
  let waits = 0;
  for (let offset = 0; offset < data.length; offset += 65536) {
    if (!socket.write(data.subarray(offset, offset + 65536))) {
      waits++;
      await once(socket, 'drain');
    }
  }
  return waits;
}

async function transfer(host) {
  const socket = await connect(host);
  const reader = new Reader(socket);
  const data = crypto.randomBytes(bytes);
  socket.write(`PUT ${bytes}\n`);
  assert(await write(socket, data) > 0, 'no back pressure');
  assert.strictEqual(await reader.line(), md5(data), `${host}: PUT`);
  socket.write(`GET ${bytes}\n`);
  const received = await reader.take(bytes);
  assert.strictEqual(await reader.line(), md5(received), `${host}: GET`);
  socket.write('ECHO\n');
  const writing = write(socket, data).then(() => socket.end()); // this half only
  assert.strictEqual(md5(await reader.take(bytes)), md5(data), `${host}: ECHO`);
  await writing;
  assert.strictEqual((await reader.take(1)).length, 0, `${host}: bytes behind the end`);
  await (socket.destroyed || once(socket, 'close'));
  ok(`${host}: PUT, GET and ECHO of ${bytes} bytes`);
}

async function many(host) {
  const sockets = await Promise.all(Array.from({ length: connections }, () => connect(host)));
  await Promise.all(sockets.map(async (socket) => {
    const data = crypto.randomBytes(3000);
    socket.write('PUT 3000\n');
    socket.write(data);
    assert.strictEqual(await new Reader(socket).line(), md5(data), `${host}: one of many`);
  }));
  await Promise.all(sockets.map((socket) => {
    socket.end();
    return once(socket.resume(), 'close');
  }));
  ok(`${host}: ${connections} connections at once`);
}

async function datagrams(host) {
  const socket = dgram.createSocket(net.isIPv6(host) ? 'udp6' : 'udp4');
  for (const size of [0, 1, 1472, 1473, 9000, 60000]) {
    const data = crypto.randomBytes(size);
    const came = new Promise((resolve) => {
      socket.on('message', (answer, from) => answer.equals(data) && from.port === PORT && resolve());
    });
    let attempts = 0;
    const send = () => {
      assert(attempts++ < 10, `${host}: a datagram of ${size} bytes does not come back`);
      socket.send(data, PORT, host);
    };
    send();
    const again = setInterval(send, 2000);
    await came;
    clearInterval(again);
    socket.removeAllListeners('message');
  }
  socket.close();

  const closed = dgram.createSocket(net.isIPv6(host) ? 'udp6' : 'udp4');
  closed.connect(PORT + 1, host);
  await once(closed, 'connect');
  closed.send('x');
  const [error] = await once(closed, 'error');
  assert.strictEqual(error.code, 'ECONNREFUSED');
  closed.close();
  ok(`${host}: datagrams`);
}

async function failsBy(code, promise, what) {
  await assert.rejects(promise, { code }, what);
  ok(what, code);
}

async function errors(host) {
  await failsBy('ECONNREFUSED', connect(host, PORT + 1), `${host}: refused`);

  // Node has no time limit for connect: a program sets the socket's.
  const waiting = net.connect({ host, port: PORT + 2, timeout: 1000 });
  await once(waiting, 'timeout');
  assert(waiting.connecting, `${host}: a connection to a full listener`);
  waiting.destroy();
  ok(`${host}: connect's timeout`);

  const silent = await connect(host);
  silent.write('SILENT\n');
  silent.setTimeout(500);
  await once(silent, 'timeout');
  silent.destroy();
  ok(`${host}: silence`);

  const reset = await connect(host);
  reset.write('RESET\n');
  await failsBy('ECONNRESET', once(reset.resume(), 'end'), `${host}: reset`);

  const gone = await connect(host); // the program itself resets
  gone.resetAndDestroy();
  await once(gone, 'close');
  ok(`${host}: own reset`);
}

async function main() {
  const unreachable = Promise.all([ // the kernel asks for a neighbour for three seconds
    failsBy('ENETUNREACH', connect(NO_ROUTE), 'no route'),
    failsBy('EHOSTUNREACH', connect(UNREACHABLE), UNREACHABLE),
    failsBy('EHOSTUNREACH', connect(UNREACHABLE6), UNREACHABLE6),
  ]);
  for (const host of [PEER, PEER6]) {
    await transfer(host);
    await many(host);
    await datagrams(host);
    await errors(host);
  }
  await unreachable;
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
