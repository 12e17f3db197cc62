// One configuration for every suite; `make test` leaves out what needs clients and servers of others (test/e2e) and the long runs (test/fuzz, test/bench).
export default {
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': ['@swc/jest', { jsc: { parser: { syntax: 'typescript' }, target: 'es2024' }, module: { type: 'es6' }, sourceMaps: 'inline' }],
  },
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  testPathIgnorePatterns: process.env['SPOOKY_SUITE'] ? [] : ['/test/e2e/', '/test/fuzz/', '/test/bench/', '/test/cluster/'],
  // So that what hangs ends, and no assertion: machines that build are slow, and have other things to do.
  testTimeout: 120000,
  maxWorkers: 2,
};
