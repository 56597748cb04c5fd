// Lets a request pass if its tenant is known, and tells the upstream which plugin said so.

import { wantRequestHeader } from 'witgate:plugin/setup@0.1.0';

// One instance serves many routes: each attachment has a configuration of its own.
const attachments = new Map();
const text = new TextDecoder();
const bytes = new TextEncoder();

export const lifecycle = {
  configure(attachment, config) {
    const { tenants, ...others } = JSON.parse(config);
    const unknown = Object.keys(others);
    if (unknown.length > 0) throw `unknown field \`${unknown[0]}\`, expected \`tenants\``;
    if (!Array.isArray(tenants)) throw '`tenants` must be a list of names';
    attachments.set(attachment, { tenants: new Set(tenants), key: wantRequestHeader('x-tenant') });
  },

  release(attachment) {
    attachments.delete(attachment);
  },
};

export const requestHook = {
  onRequest(attachment, head) {
    const { tenants, key } = attachments.get(attachment);
    const value = head.values?.find(([wanted]) => wanted === key);
    if (value && tenants.has(text.decode(value[1]))) {
      return { tag: 'next', val: [{ tag: 'set-header', val: ['x-checked-by', bytes.encode('javascript')] }] };
    }
    const problem = { title: 'Forbidden', status: 403, detail: 'the tenant is not known' };
    const headers = [['content-type', bytes.encode('application/problem+json')]];
    return { tag: 'respond', val: { status: 403, headers, body: bytes.encode(JSON.stringify(problem)) } };
  },
};
