// What plays: a video, or still pictures beside a clock. Both have a time, and can play and pause.
"use strict";

class VideoPlayer {
  constructor(url, type, { onChange, onFailure }) {
    this.element = Object.assign(document.createElement("video"), {
      preload: "metadata",
      playsInline: true,
      controls: true,
    });
    this.element.append(Object.assign(document.createElement("source"), { src: url, type }));
    this.element.firstChild.addEventListener("error", onFailure);
    this.element.addEventListener("error", onFailure);
    for (const name of ["timeupdate", "seeking", "seeked", "play", "pause", "loadedmetadata"]) {
      this.element.addEventListener(name, onChange);
    }
  }
  get time() {
    return this.element.currentTime;
  }
  set time(seconds) {
    this.element.currentTime = seconds;
  }
  get plays() {
    return !this.element.paused;
  }
  play() {
    this.element.play().catch(() => {}); // what cannot be played says so by its error event
  }
  pause() {
    this.element.pause();
  }
}

// Still pictures, or nothing at all, beside a clock.
class StillPlayer {
  constructor(pictures, times, duration, onChange) {
    this.pictures = pictures;
    this.times = times;
    this.duration = duration;
    this.onChange = onChange;
    this.element = pictures.length ? document.createElement("img") : "";
    this.seconds = 0;
    this.plays = false;
    this.show();
  }
  get time() {
    return this.seconds;
  }
  set time(seconds) {
    this.seconds = Math.min(Math.max(seconds, 0), this.duration);
    this.show();
    this.onChange();
  }
  show() {
    if (!this.pictures.length) return;
    let nearest = 0;
    this.times.forEach((time, place) => {
      const distance = Math.abs(time - this.seconds);
      if (distance < Math.abs(this.times[nearest] - this.seconds)) nearest = place;
    });
    this.element.src = `data:image/jpeg;base64,${this.pictures[nearest]}`;
    this.element.alt = `Picture at ${this.times[nearest].toFixed(1)} seconds`;
  }
  play() {
    this.plays = true;
    let before = performance.now();
    const step = (now) => {
      if (!this.plays) return;
      this.time = this.seconds + (now - before) / 1000;
      before = now;
      if (this.seconds >= this.duration) this.pause();
      else requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
    this.onChange();
  }
  pause() {
    this.plays = false;
    this.onChange();
  }
}
