// names.js: dns.lookup is getaddrinfo in libuv's threads, which the intercept answers; all else of dns is c-ares, which
// asks by sockets of its own the server of /etc/resolv.conf, or one that it is given. monitor_entrypoint.sh says the names.
'use strict';
const assert = require('assert');
const dns = require('dns');
const net = require('net');
const { once } = require('events');

async function main() {
  const { PEER, PEER6 } = process.env;
  assert.deepStrictEqual(await dns.promises.lookup('localhost', { family: 4 }), { address: '127.0.0.1', family: 4 });
  assert.deepStrictEqual(await dns.promises.lookup('peer.example', { all: true, verbatim: true }),
    [{ address: PEER6, family: 6 }, { address: PEER, family: 4 }]);
  console.log('ok: getaddrinfo');

  const connected = net.connect({ host: 'peer.example', port: 7000 });
  await once(connected, 'connect');
  connected.end();
  console.log('ok: connected by name to', connected.remoteAddress);

  for (const server of [null, PEER, PEER6]) {
    const resolver = new dns.promises.Resolver({ timeout: 5000, tries: 4 });
    if (server) resolver.setServers([server]);
    assert.deepStrictEqual(await resolver.resolve4('peer.example'), [PEER]);
    assert.deepStrictEqual(await resolver.resolve6('peer.example'), [PEER6]);
    assert.deepStrictEqual(await resolver.resolveMx('peer.example'), [{ exchange: 'mail.example', priority: 10 }]);
    const long = await resolver.resolveTxt('long.example'); // truncated by UDP, so TCP
    assert.strictEqual(long.length, 40);
    assert(long.every(([text]) => text.length === 200), 'a text of another length');
    await assert.rejects(resolver.resolve4('nobody.example'), { code: 'ENOTFOUND' });
    console.log('ok: c-ares at', ...resolver.getServers());
  }
  const impatient = new dns.promises.Resolver({ timeout: 300, tries: 1 });
  impatient.setServers([`${PEER}:7001`]);
  await assert.rejects(impatient.resolve4('peer.example'), { code: 'ECONNREFUSED' });
  console.log('ok: c-ares at a closed port');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
