// Addresses folded into prefixes, so that a thousand pods of one application are one line of a report.

/**
 * The /24 of an IPv4 address, the /64 of an IPv6 address (RFC 5952 form), `unix` and anything unreadable as it is.
 * IPv4-mapped IPv6 (`::ffff:10.0.0.1`) counts as IPv4.
 */
export function foldClientPrefix(clientIp: string): string {
  if (!clientIp.includes(':')) return foldIpv4(clientIp);
  const zoneAt = clientIp.indexOf('%');
  const address = (zoneAt < 0 ? clientIp : clientIp.slice(0, zoneAt)).toLowerCase();
  if (address.startsWith('::ffff:') && address.includes('.')) return foldIpv4(address.slice('::ffff:'.length));
  const groups = expandGroups(address);
  if (groups === null) return clientIp;
  return `${shorten(groups.slice(0, 4))}/64`;
}

function foldIpv4(address: string): string {
  const lastDot = address.lastIndexOf('.');
  if (lastDot < 0 || !/^\d{1,3}(\.\d{1,3}){3}$/.test(address)) return address;
  return `${address.slice(0, lastDot)}.0/24`;
}

/** The eight groups of an IPv6 address without leading zeros, or null where the text is none. */
function expandGroups(address: string): string[] | null {
  const halves = address.split('::');
  if (halves.length > 2) return null;
  const left = splitGroups(halves[0] ?? '');
  const right = splitGroups(halves[1] ?? '');
  const missing = 8 - left.length - right.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return null;
  const groups = [...left, ...new Array<string>(missing).fill('0'), ...right];
  return groups.every((group) => /^[0-9a-f]{1,4}$/.test(group))
    ? groups.map((group) => group.replace(/^0+(?=.)/, ''))
    : null;
}

/** An embedded IPv4 tail stands for two groups; it lies behind the first 64 bits, so its value does not matter. */
function splitGroups(part: string): string[] {
  if (part === '') return [];
  return part.split(':').flatMap((group) => (group.includes('.') ? ['0', '0'] : [group]));
}

/** The four leading groups and an all-zero rest; trailing zero groups fold into `::`. */
function shorten(leading: readonly string[]): string {
  let end = leading.length;
  while (end > 0 && leading[end - 1] === '0') end -= 1;
  return `${leading.slice(0, end).join(':')}::`;
}
