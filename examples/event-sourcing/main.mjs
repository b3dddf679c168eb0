// Random transfers between accounts; the total never changes.
import { Bank } from './bank.mjs'

const { DIRECTORY = 'data/event-sourcing' } = process.env
const TRANSFERS = Number(process.argv[2] ?? 1000)
const ACCOUNTS = Array.from({ length: 10 }, (_, index) => `account-${index}`)
const TELLERS = 8
const SNAPSHOT_EVERY = 250

const bank = await Bank.open(DIRECTORY)
// A killed first run may have made some of the deposits.
for (const account of ACCOUNTS) {
  if (bank.lsn < ACCOUNTS.length && bank.balance(account) === 0) await bank.deposit(account, 1000)
}
console.log(`total ${bank.total}, ${bank.lsn} events`)

const any = (items) => items[Math.floor(Math.random() * items.length)]
let begun = 0
let made = 0

async function teller() {
  while (begun < TRANSFERS) {
    begun++
    try {
      await bank.transfer(any(ACCOUNTS), any(ACCOUNTS), 1 + Math.floor(Math.random() * 100))
      if (++made % SNAPSHOT_EVERY === 0) await bank.snapshot()
      console.log(`acknowledged ${bank.lsn}`)
    } catch (error) {
      if (!error.message.endsWith('has too little')) throw error
    }
  }
}

await Promise.all(Array.from({ length: TELLERS }, teller))
console.log(`total ${bank.total}, ${bank.lsn} events`)
await bank.close()
