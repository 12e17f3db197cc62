import { Curl } from '../kit/clients.ts';
import { scenarios } from './scenarios.ts';

scenarios('curl', () => new Curl());
