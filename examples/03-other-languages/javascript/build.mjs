// node build.mjs OUTPUT: makes the component.

import { componentize } from '@bytecodealliance/componentize-js';
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const { component } = await componentize(await readFile(here('policy.js'), 'utf8'), {
  witPath: here('../wit'),
  worldName: 'policy',
  // A policy needs none of what a browser's scripts have.
  disableFeatures: ['random', 'stdio', 'clocks', 'http', 'fetch-event'],
});
await writeFile(process.argv[2], component);
