#!/usr/bin/env python3
"""A shop that takes orders at random; each is a row of `orders` and an event in the outbox, in one transaction.

It knows nothing of NATS or HTTP, and goes on selling where both are away. Python 3.9 or newer, nothing else.
"""

import argparse
import random
import time

from outbox import add_event, open_database, transaction

ITEMS = ["apples", "bread", "cheese", "dates", "eggs"]
ORDERS = """
    CREATE TABLE IF NOT EXISTS orders (
        number INTEGER PRIMARY KEY, customer TEXT NOT NULL, item TEXT NOT NULL, quantity INTEGER NOT NULL
    )
"""


def take_order(db, customer, item, quantity):
    with transaction(db):
        values = (customer, item, quantity)
        number = db.execute("INSERT INTO orders (customer, item, quantity) VALUES (?, ?, ?)", values).lastrowid
        # What must stay in order has one subject: all that a customer orders.
        event = {"order": number, "customer": customer, "item": item, "quantity": quantity}
        add_event(db, f"shop.orders.{customer}", event)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--db", default="shop.db", help="the database; default: %(default)s")
    parser.add_argument("--orders", type=int, default=1_000, help="how many to take; default: %(default)s")
    parser.add_argument("--customers", type=int, default=100, help="who order; default: %(default)s")
    parser.add_argument("--pause-ms", type=float, default=0, help="between two orders; default: %(default)s")
    options = parser.parse_args()
    with open_database(options.db) as db:
        db.execute(ORDERS)
        for _ in range(options.orders):
            customer = f"customer-{random.randrange(options.customers)}"
            take_order(db, customer, random.choice(ITEMS), random.randint(1, 9))
            time.sleep(options.pause_ms / 1000)
    print(f"{options.db}: {options.orders} orders taken")


main()
