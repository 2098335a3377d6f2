// What a row of the metrics table is: a name, words, labels, and how to read it from the running pgweir.

import type { HistogramReading } from '../base/histogram.ts';
import type { ControlPlane } from './control.ts';

/** One series: label values in the order of the metric's labels, then the number. */
export type Series = readonly [labels: readonly string[], value: number];

export interface NumberMetric {
  /** Without the prefix `pgweir_`. */
  readonly name: string;
  readonly type: 'counter' | 'gauge';
  readonly help: string;
  readonly labels: readonly string[];
  read(control: ControlPlane): Series[];
}

/** In seconds. */
export interface DurationMetric {
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  read(control: ControlPlane): (readonly [labels: readonly string[], reading: HistogramReading])[];
}

/** The one series of a metric without labels. */
export const one = (value: number): Series[] => [[[], value]];
