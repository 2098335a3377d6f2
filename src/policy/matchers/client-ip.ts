// Where the client connects from: CIDR prefixes of IPv4 and IPv6, or `unix`.

import type { Prefix } from './address.ts';
import { isInPrefix, parseAddress, parsePrefix } from './address.ts';
import type { Dimension } from './dimension.ts';
import { eachValue, listWords, makeCondition, STAGE } from './dimension.ts';

export const clientIp: Dimension<string | string[]> = {
  stage: STAGE.subject,
  compile(value, tools) {
    let isUnixWanted = false;
    const prefixes: Prefix[] = [];
    eachValue(value, (text, index) => {
      if (text === 'unix') {
        isUnixWanted = true;
        return;
      }
      const prefix = parsePrefix(text);
      if (typeof prefix === 'string') tools.fail(prefix, index);
      else prefixes.push(prefix);
    });
    return makeCondition({
      key: 'client_ip',
      stage: STAGE.subject,
      wanted: listWords(value),
      holds: (context) => {
        const clientIp = context.subject.clientIp;
        if (clientIp === 'unix') return isUnixWanted;
        const address = parseAddress(clientIp);
        return address !== null && prefixes.some((prefix) => isInPrefix(address, prefix));
      },
      seen: (context) => context.subject.clientIp,
    });
  },
};
