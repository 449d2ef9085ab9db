const span = 3_000; // ms that a rate is taken over
const most = 6_000; // events that are remembered

/** How often something happens in a second, over the last three. */
export class Rate {
  private at: number[] = [];
  private began = 0;

  count(now = performance.now()): void {
    if (this.at.length === 0) this.began = now;
    this.at.push(now);
    if (this.at.length > most) this.at.splice(0, most / 2);
  }

  perSecond(now = performance.now()): number {
    const from = now - span;
    while (this.at.length > 0 && this.at[0]! < from) this.at.shift();
    if (this.at.length === 0) return 0;
    return (1_000 * this.at.length) / Math.max(now - Math.max(from, this.began), 500);
  }
}
