// client.js FOLDER REQUESTS HOST…: a client of server.js, whose certificate is ca.pem's of FOLDER.
'use strict';
const assert = require('assert');
const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const http2 = require('http2');
const https = require('https');
const net = require('net');
const { once } = require('events');

const [folder, requests, ...hosts] = process.argv.slice(2);
const ca = fs.readFileSync(`${folder}/ca.pem`);
const bytes = Number(process.env.TRANSFER_BYTES);
const md5 = (data) => crypto.createHash('md5').update(data).digest('hex');
const ok = (...words) => console.log('ok:', ...words);
const bracketed = (host) => (net.isIPv6(host) ? `[${host}]` : host);

async function body(stream) {
  const parts = [];
  for await (const data of stream) parts.push(data);
  return Buffer.concat(parts);
}

function checkTail(what, data, count) {
  assert.strictEqual(data.length, count + 32, what);
  assert.strictEqual(md5(data.subarray(0, count)), data.toString('latin1', count), what);
}

// What a TLS connection trusts. Node 18 (Debian's) compares an IPv6 address in a URL with no name of a certificate: by name.
function trust(url) {
  return url.includes('[') ? { ca, servername: 'localhost' } : { ca };
}

// An answer's body. A request's body has a length, or comes in parts without one.
async function ask(url, options = {}, data = null, parts = 0) {
  const module = url.startsWith('https') ? https : http;
  const request = module.request(url, { ...trust(url), ...options });
  if (data && parts === 0) request.setHeader('Content-Length', data.length);
  if (data && parts > 0) {
    const size = Math.ceil(data.length / parts);
    for (let offset = 0; offset < data.length; offset += size) {
      if (!request.write(data.subarray(offset, offset + size))) await once(request, 'drain');
    }
    request.end();
  } else {
    request.end(data);
  }
  const [response] = await once(request, 'response');
  assert.strictEqual(response.statusCode, 200);
  const { localPort } = response.socket;
  return { data: await body(response), localPort };
}

async function transfer(url, agent) {
  for (const what of ['random', 'chunked']) {
    checkTail(`${url}: ${what}`, (await ask(`${url}/${what}/${bytes}`, { agent })).data, bytes);
  }
  const data = crypto.randomBytes(bytes);
  for (const parts of [0, 50]) {
    const { data: hash } = await ask(`${url}/hash`, { agent, method: 'PUT' }, data, parts);
    assert.strictEqual(hash.toString(), md5(data), `${url}: PUT`);
  }
  ok(`${url}: ${bytes} bytes both ways, with a length and in chunks`);
}

// The agent keeps its sockets, so few are made: each connection has another port of its own.
async function keepalive(url, agent) {
  const ports = new Set();
  await Promise.all(Array.from({ length: Number(requests) }, async (_, number) => {
    const answer = await ask(`${url}/random/${number}`, { agent });
    checkTail(`${url}: ${number}`, answer.data, number);
    ports.add(answer.localPort);
  }));
  assert(ports.size <= agent.maxSockets, `${url}: ${ports.size} connections for ${requests} requests`);
  ok(`${url}: ${requests} requests by ${ports.size} connections`);
  agent.destroy();
}

async function multiplexed(host) {
  const url = `https://${bracketed(host)}:8444`;
  const session = http2.connect(url, trust(url));
  await once(session, 'connect');
  const fetch = async (path, method = 'GET', data = null) => {
    const stream = session.request({ ':path': path, ':method': method }, { endStream: data === null });
    if (data !== null) stream.end(data);
    const [headers] = await once(stream, 'response');
    assert.strictEqual(headers[':status'], 200);
    return body(stream);
  };
  checkTail(`${host}: h2`, await fetch(`/random/${bytes}`), bytes);
  const data = crypto.randomBytes(bytes);
  assert.strictEqual((await fetch('/hash', 'PUT', data)).toString(), md5(data));
  for (let done = 0; done < requests; done += 50) { // as many streams at once as a server surely allows
    await Promise.all(Array.from({ length: 50 }, async (_, number) => {
      checkTail(`${host}: h2 ${number}`, await fetch(`/random/${number}`), number);
    }));
  }
  session.close();
  await once(session, 'close');
  ok(`${host}: HTTP/2, ${bytes} bytes both ways, ${requests} streams`);
}

async function errors(host) {
  const url = `http://${bracketed(host)}:8000`;
  await assert.rejects(ask(`http://${bracketed(host)}:7001/`), { code: 'ECONNREFUSED' });
  await assert.rejects(ask(`${url}/short`), { code: 'ECONNRESET' });
  const request = http.get(`${url}/silent`, { timeout: 500 });
  await once(request, 'timeout');
  request.destroy();
  await assert.rejects(once(request, 'close', { signal: AbortSignal.timeout(20000) }).then(() => { throw request.errored; }));
  await assert.rejects(ask(`https://${bracketed(host)}:8443/random/1`, { ca: [] }), { code: /UNABLE_TO|SELF_SIGNED/ });
  ok(`${host}: errors`);
}

async function main() {
  for (const host of hosts) {
    for (const [scheme, port, module] of [['http', 8000, http], ['https', 8443, https]]) {
      const url = `${scheme}://${bracketed(host)}:${port}`;
      const agent = new module.Agent({ keepAlive: true, maxSockets: 16 });
      await transfer(url, agent);
      await keepalive(url, agent);
    }
    await multiplexed(host);
    await errors(host);
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
