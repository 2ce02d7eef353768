"""Hold a raw EC2 answer against botocore's output shape: no unknown element, no value of the wrong kind."""
import datetime
import re
import xml.etree.ElementTree as ElementTree

NAMESPACE = "{http://ec2.amazonaws.com/doc/2016-11-15/}"
TIMESTAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
# In every answer, and no member of any shape; "return" is the whole answer of actions without an output shape.
ALWAYS = {"requestId", "return"}


def differences(operation, body):
    """What the answer has that the shape does not, as a list of texts."""
    root = ElementTree.fromstring(body)
    found = []
    if root.tag != f"{NAMESPACE}{operation.name}Response":
        found.append(f"the root element is {root.tag}")
    children = [child for child in root if name(child) not in ALWAYS]
    if [child for child in root if name(child) == "requestId"] == []:
        found.append("no requestId")
    if operation.output_shape is None:
        found += [f"{operation.name} has no output but {name(child)}" for child in children]
    else:
        found += structure(operation.output_shape, children, operation.name)
    return found


def name(element):
    return element.tag.removeprefix(NAMESPACE)


def structure(shape, children, path):
    members = {value.serialization.get("name", key): value for key, value in shape.members.items()}
    found = []
    seen = set()
    for child in children:
        here = f"{path}.{name(child)}"
        if name(child) in seen:
            found.append(f"{here} comes twice")
        seen.add(name(child))
        member = members.get(name(child))
        found += [f"{here} is unknown"] if member is None else value(member, child, here)
    return found


def value(shape, element, path):
    if shape.type_name == "structure":
        return structure(shape, list(element), path)
    if shape.type_name == "list":
        return items(shape, list(element), path)
    if len(element):
        return [f"{path} is a {shape.type_name} and has elements"]
    return scalar(shape, element.text or "", path)


def items(shape, children, path):
    wrapper = shape.member.serialization.get("name", "item")
    found = []
    for index, child in enumerate(children):
        here = f"{path}[{index}]"
        if name(child) != wrapper:
            found.append(f"{here} is wrapped in {name(child)}, not {wrapper}")
        found += value(shape.member, child, here)
    return found


def scalar(shape, text, path):
    kind = shape.type_name
    good = {
        "string": lambda: not getattr(shape, "enum", None) or text in shape.enum,
        "boolean": lambda: text in ("true", "false"),
        "integer": lambda: re.fullmatch(r"-?\d+", text) is not None,
        "long": lambda: re.fullmatch(r"-?\d+", text) is not None,
        "double": lambda: float(text) is not None,
        "timestamp": lambda: TIMESTAMP.match(text) is not None and datetime.datetime.fromisoformat(text),
    }.get(kind, lambda: False)
    return [] if good() else [f"{path} is no {kind}: {text!r}"]
