// Logs three events by one logging set-up, named by the argument: information, a warning, an error with its exception.
'use strict'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'

class PaymentError extends Error {
  constructor (message, options) {
    super(message, options)
    this.name = 'PaymentError'
  }
}

function charge () {
  throw new PaymentError('card declined')
}

function caught () {
  try {
    charge()
  } catch (error) {
    return error
  }
}

const setups = {
  console () {
    console.log('order 4711 paid')
    console.warn('stock of 4711 is low')
    console.error(caught())
  },
  console_text () {
    console.error('payment of 4711 failed:', caught())
  },
  cause () {
    console.error(new PaymentError('order 4711 failed', { cause: new TypeError('no currency') }))
  },
  aggregate () {
    console.error(new AggregateError([new PaymentError('card declined'), new TypeError('no currency')], '2 payments failed'))
  },
  crash () {
    charge()
  },
  rejection () {
    Promise.reject(new PaymentError('card declined'))
  },
  rejection_value () {
    Promise.reject('card declined') // eslint-disable-line prefer-promise-reject-errors
  },
  emitted () {
    new (require('events'))().emit('error', new PaymentError('card declined'))
  },
  pino () {
    const logger = require('pino')({ name: 'shop', base: { pid: 7 } }).child({ trace_id: TRACE })
    logger.info('order 4711 paid')
    logger.warn('stock of 4711 is low')
    logger.error(caught(), 'payment of 4711 failed')
  },
  winston_json () {
    const { createLogger, format, transports } = require('winston')
    const formats = format.combine(format.timestamp(), format.errors({ stack: true }), format.json())
    const logger = createLogger({ format: formats, transports: [new transports.Console()], defaultMeta: { service: 'shop' } })
    logger.info('order 4711 paid', { trace_id: TRACE })
    logger.warn('stock of 4711 is low', { trace_id: TRACE })
    logger.error(caught())
  },
  winston_text () {
    const { createLogger, format, transports } = require('winston')
    const line = format.printf(({ level, message, label, timestamp }) => `${timestamp} [${label}] ${level}: ${message}`)
    const formats = format.combine(format.label({ label: 'shop.pay' }), format.timestamp(), line)
    const logger = createLogger({ format: formats, transports: [new transports.Console()] })
    logger.info('order 4711 paid')
    logger.warn('stock of 4711 is low')
    logger.error('payment of 4711 failed')
  },
  winston_simple () {
    const { createLogger, format, transports } = require('winston')
    const logger = createLogger({ format: format.simple(), transports: [new transports.Console()] })
    logger.info('order 4711 paid')
    logger.warn('stock of 4711 is low')
    logger.error('payment of 4711 failed')
  },
  bunyan () {
    const logger = require('bunyan').createLogger({ name: 'shop', trace_id: TRACE })
    logger.info('order 4711 paid')
    logger.warn('stock of 4711 is low')
    logger.error({ err: caught() }, 'payment of 4711 failed')
  },
  log4js () {
    const log4js = require('log4js')
    log4js.configure({ appenders: { out: { type: 'stdout', layout: { type: 'basic' } } }, categories: { default: { appenders: ['out'], level: 'info' } } })
    const logger = log4js.getLogger('shop.pay')
    logger.info('order 4711 paid')
    logger.warn('stock of 4711 is low')
    logger.error('payment of 4711 failed', caught())
  },
  nest () {
    const { ConsoleLogger } = require('@nestjs/common')
    const logger = new ConsoleLogger('PayService', { colors: false })
    logger.log('order 4711 paid')
    logger.warn('stock of 4711 is low')
    logger.error('payment of 4711 failed', caught().stack)
  },
  nest_json () {
    const { ConsoleLogger } = require('@nestjs/common')
    const logger = new ConsoleLogger('PayService', { json: true, colors: false })
    logger.log('order 4711 paid')
    logger.warn('stock of 4711 is low')
    logger.error('payment of 4711 failed', caught().stack)
  },
  async fastify () {
    const app = require('fastify')({ logger: true })
    app.get('/orders/4711', async () => ({ id: 4711 }))
    app.get('/fail', async () => charge())
    await app.ready()
    await app.inject('/orders/4711')
    await app.inject('/fail')
    await app.close()
  },
  async express () {
    const express = require('express')
    const app = express()
    app.use(require('morgan')('combined'))
    app.get('/orders/4711', (request, response) => response.send('4711'))
    app.get('/fail', () => charge())
    const server = app.listen(0, '127.0.0.1')
    await new Promise((resolve) => server.on('listening', resolve))
    const base = `http://127.0.0.1:${server.address().port}`
    await fetch(`${base}/orders/4711`)
    await fetch(`${base}/fail`)
    server.closeAllConnections()
    server.close()
  }
}

setups[process.argv[2]]()
