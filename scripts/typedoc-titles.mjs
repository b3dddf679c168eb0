// A typedoc plugin: a document is listed under its heading, not under the name of its file.
import { Converter } from 'typedoc'

/** @param {import('typedoc').Application} app */
export function load(app) {
  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_context, document) => {
    const [, heading] = document.content[0]?.text.match(/^# (.*)$/m) ?? []
    if (heading !== undefined) document.name = heading
  })
}
