"""What people call things, and what the reference calls them.

`CONCEPTS` name one thing in several words, or in one that means something else every day: they are read as one term
from the start. `JARGON` is for single words the reference may do without: a question is first taken at its word, and
asked again in the reference's words only when the evidence lacks the term.

A line of a table is `what people say = what the reference says | another way it says so`; code stands in backticks.
"""

from __future__ import annotations

from examples.docs_assistant.words import symbols

Form = tuple[str, ...]
"""Index words that stand together."""


def _read(table: str) -> dict[str, tuple[Form, ...]]:
    rows = (line.split(" = ", 1) for line in table.strip().splitlines())
    return {said.strip(): tuple(_form(form.strip()) for form in written.split(" | ")) for said, written in rows}


def _form(text: str) -> Form:
    return (symbols(text.strip("`"))[0],) if text.startswith("`") else tuple(text.lower().split())


CONCEPTS = _read(
    """
    ternary operator = conditional expression
    conditional expression = conditional expression
    magic method = special method | special name
    dunder method = special method | special name
    special method = special method | special name
    switch statement = match statement | `match`
    pattern matching = pattern matching | match statement
    hash map = dictionary
    hash table = dictionary
    multiple inheritance = method resolution order | base class
    method resolution order = method resolution order | __mro__
    default argument value = default parameter
    default argument = default parameter | default value
    default arg = default parameter | default value
    default parameter = default parameter
    default value = default parameter | default value
    keyword argument = keyword argument
    positional argument = positional argument
    positional only = positional only | positional parameter
    keyword only = keyword only
    star args = excess positional
    generator expression = generator expression
    list comprehension = comprehension
    dict comprehension = dict comprehension
    type hint = annotation
    type annotation = annotation
    type parameter = type parameter
    context manager = context manager
    multiline string = triple quoted
    multi line string = triple quoted
    escape sequence = escape sequence
    exception chaining = chaining | chained
    exception handler = exception handler
    exception group = exception group
    garbage collection = garbage collected
    evaluation order = evaluated left right
    order of evaluation = evaluated left right
    operator precedence = operator precedence
    operator overloading = operator overloading
    short circuit = boolean operation
    string formatting = format string | string formatting | format specification
    format string = format string
    format spec = format specification
    f string = formatted string literal
    formatted string = formatted string literal
    name resolution = resolution names
    name mangling = name mangling | mangled
    variable scope = scope
    global variable = global variable | global
    free variable = free variable
    local variable = local variable
    augmented assignment = augmented assignment
    tuple unpacking = unpacking | items targets
    iterable unpacking = iterable unpacking | items targets
    async generator = asynchronous generator
    async iterator = asynchronous iterator
    async iterable = asynchronous iterable
    async context manager = asynchronous context manager
    class method = class method | classmethod
    static method = static method | staticmethod
    truth value = truth value
    soft keyword = soft keyword
    raw string = raw string
    thousands separator = thousands separator
    closure = free variable | closure
    catch = except clause | exception handler | `except`
    catching = except clause | exception handler | `except`
    debug = debugger | debug | pdb
    decimal place = precision
    decimals = precision
    unpack = unpacking | items targets
    unpacking = unpacking | items targets
    unpacked = unpacking | items targets
    into variables = items targets
    resolve = resolution | resolve
    resolved = resolution | resolved
    """
)

JARGON = _read(
    """
    walrus = assignment expression | `:=`
    ternary = conditional expression
    fstring = formatted string literal
    fstrings = formatted string literal
    dunder = special method | special name
    dunders = special method | special name
    magic = special method
    splat = unpacking | starred
    destructuring = unpacking | items targets
    swap = target list
    constructor = __init__ | __new__
    destructor = __del__
    mro = method resolution order | __mro__
    legb = resolution names
    scoping = scope
    shadowing = scope
    switch = match statement | `match`
    truthy = truth value | considered true
    truthiness = truth value
    falsy = considered false | truth value
    falsey = considered false | truth value
    nil = `None`
    null = `None`
    hashmap = dictionary
    array = list | sequence
    arrays = list | sequence
    substring = slice | sub
    inherit = base class | inheritance
    inherits = base class | inheritance
    inheritance = base class | inheritance
    superclass = base class
    subclassing = subclass | base class
    overload = operator overloading | special method
    overloading = operator overloading | special method
    swallow = suppress
    swallowed = suppress
    ignore = suppress
    rethrow = raise
    throw = `raise` | raise
    throws = `raise` | raise
    interpolation = formatted string literal | str format
    interpolate = formatted string literal | str format
    private = mangled | mangling
    exponentiation = power operator | `**`
    exponent = power operator | `**`
    modulo = `%` | modulo
    remainder = `%` | modulo
    increment = augmented assignment
    decrement = augmented assignment
    singleton = `None`
    varargs = excess positional
    args = excess positional
    kwargs = excess keyword
    defaults = default parameter
    chaining = chained | chaining
    chain = chained
    typehints = annotation
    typing = annotation
    hints = annotation
    generics = generic | type parameter
    memory = reference count | garbage
    gc = garbage
    equality = compare equal | __eq__
    identity = identity | `is`
    cast = conversion | converted
    casting = conversion | converted
    iterate = iterator | iterable
    getter = descriptor | attribute access
    setter = descriptor | attribute access
    property = descriptor | attribute access
    properties = descriptor | attribute access
    indexing = subscription
    rounding = precision | round
    padding = width | fill
    multiline = triple quoted
    ampersand = `&`
    tilde = `~`
    caret = `^`
    """
)
