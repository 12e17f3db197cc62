import { quicgo } from '../kit/clients.ts';
import { operations } from './operations.ts';
import { scenarios } from './scenarios.ts';

scenarios('quic-go', quicgo);
operations('quic-go', quicgo);
