// Starts the page: signs in by the cookie if there is a good one, else asks who is there.

import { App } from './app.js';
import { Session } from './net/session.js';
import { byId } from './ui/dom.js';
import { Front } from './ui/front.js';
import { wordsFor } from './ui/words.js';

const session = new Session();
const front = new Front(session, enter);

byId('splash-retry').addEventListener('click', begin);
begin();

async function begin() {
  splash('Opening Banter …');
  try {
    await session.restore();
  } catch (error) {
    if (error.final) {
      byId('splash').hidden = true;
      // That nobody is signed in needs no words; any other reason does.
      front.show(error.code === 'refresh_invalid' ? null : wordsFor(error));
    } else {
      splash(wordsFor(error), true);
    }
    return;
  }
  byId('splash').hidden = true;
  enter();
}

function enter() {
  new App(session, leave);
}

function leave(reason) {
  // Another tab signed somebody else in: this one has to start over as them.
  if (reason === 'other_user') location.reload();
  else front.show(reason && wordsFor({ code: reason }));
}

function splash(text, canRetry = false) {
  byId('splash').hidden = false;
  byId('splash-text').textContent = text;
  byId('splash-retry').hidden = !canRetry;
}
