import { aioquic } from '../kit/clients.ts';
import { operations } from './operations.ts';
import { scenarios } from './scenarios.ts';

scenarios('aioquic', aioquic);
operations('aioquic', aioquic);
