"""What several parts of the API share: idempotency tokens, tags, pages."""

import base64
import binascii
import json

from moto.ec2.exceptions import EC2ClientError

MAXIMUM_FILTER_VALUES = 200


def fail(code, message):
    raise EC2ClientError(code, message)


def tags_of(response, resource_type):
    """The tags that this call wants on resources of one type."""
    specifications = response._get_param("TagSpecifications", []) or response._get_param("TagSpecification", [])
    return {tag["Key"]: tag.get("Value", "") for specification in specifications
            if specification.get("ResourceType") == resource_type for tag in specification.get("Tags", [])}


def fingerprint(response):
    """All parameters of a call but its token; two calls with one token must agree in it."""
    parameters = {k: v for k, v in response.data.items()
                  if k not in ("ClientToken", "DryRun", "Action", "Version")}
    return json.dumps(parameters, sort_keys=True, default=str)


def remembered(response, scope):
    """(key, the earlier result of the same token or None). The result outlives what it names, as at EC2: a
    repeated call tells about a terminated instance rather than making another one."""
    token = response._get_param("ClientToken")
    if not token:
        return None, None
    key = (response._get_action(), response.current_account, scope, token)
    known = response.world.tokens.get(key)
    if known is None:
        return key, None
    if known[0] != fingerprint(response):
        fail("IdempotentParameterMismatch",
             f"Arguments on this idempotent request are inconsistent with arguments used in previous request(s): {token}")
    return key, known[1]


def remember(response, key, result):
    if key is not None:
        response.world.tokens[key] = (fingerprint(response), result)


def filters_of(response):
    filters = {name: values for name, values in response._filters_from_querystring().items() if values}
    if sum(len(values) for values in filters.values()) > MAXIMUM_FILTER_VALUES:
        fail("FilterLimitExceeded",
             f"The maximum number of filter values specified on a single call is {MAXIMUM_FILTER_VALUES}")
    return filters


def page(response, items, identifier, smallest=1, largest=1000):
    """(this page, token of the next or None). A token names the last item shown, so that items which come and
    go between two pages neither repeat nor hide others."""
    size = response._get_param("MaxResults")
    if size is not None:
        size = int(size)
        if not smallest <= size <= largest:
            fail("InvalidParameterValue",
                 f"Value ( {size} ) for parameter maxResults is invalid. Expecting a value between {smallest} and {largest}.")
    token = response._get_param("NextToken")
    start = 0
    if token:
        try:
            last = base64.urlsafe_b64decode(token.encode()).decode()
            start = next(i for i, item in enumerate(items) if identifier(item) == last) + 1
        except (binascii.Error, ValueError, StopIteration):
            fail("InvalidNextToken", "The token used is invalid or has expired")
    size = size or largest
    shown = items[start:start + size]
    more = start + size < len(items)
    return shown, base64.urlsafe_b64encode(identifier(shown[-1]).encode()).decode() if more else None
