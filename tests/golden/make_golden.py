#!/usr/bin/env python3
"""Makes the golden safetensors files: accept/ must be read, reject-3/ must be refused with exit code 3.

    python3 tests/golden/make_golden.py            writes accept/, reject-3/ and ../fuzz/corpus/st_header/
    python3 tests/golden/make_golden.py --check    exit 1 if a committed file differs

Standard library only; the same bytes on every run. A corpus file is the header's text behind a u64 that
says how many data bytes follow it (tests/fuzz/fuzz_st_header.c).
"""
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
CORPUS = os.path.join(HERE, "..", "fuzz", "corpus", "st_header")

accept, reject = {}, {}


def raw(length, text, data=b""):
    """A file that claims `length` bytes of header, whatever `text` is."""
    text = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", length) + text + data


def st(text, data=b""):
    text = text.encode() if isinstance(text, str) else text
    return raw(len(text), text, data)


def entry(dtype="F32", shape="[2]", offsets="[0,8]"):
    return '{"dtype":"%s","shape":%s,"data_offsets":%s}' % (dtype, shape, offsets)


def one(value, data=b"\0" * 8):
    """A file whose only tensor is `a`, with this text as its entry."""
    return st('{"a":%s}' % value, data)


def named(name, data=b"\0" * 8):
    """A file with one tensor; `name` is the text between the quotes."""
    name = name.encode() if isinstance(name, str) else name
    return st(b'{"' + name + b'":' + entry().encode() + b"}", data)


def metadata(value):
    return st('{"__metadata__":%s,"a":%s}' % (value, entry()), b"\0" * 8)


def two(offsets_a, offsets_b, data_bytes):
    """Two U8 tensors at these ranges, sizes taken from the ranges."""
    size = lambda r: max(r[1] - r[0], 0)
    text = '{"a":%s,"b":%s}' % tuple(
        entry("U8", "[%d]" % size(r), "[%d,%d]" % r) for r in (offsets_a, offsets_b))
    return st(text, bytes(data_bytes))


# ---- files to accept ----

accept["empty"] = st("{}")
accept["empty_padded"] = st("{}      ")
accept["empty_metadata"] = metadata("{}")
accept["metadata_only"] = st('{"__metadata__":{"format":"pt"}}')
accept["reference_104_bytes"] = bytes.fromhex(
    "58000000000000007b225f5f6d657461646174615f5f223a7b22666f726d6174223a227074227d2c"
    "2261223a7b226474797065223a22463332222c227368617065223a5b325d2c22646174615f6f6666"
    "73657473223a5b302c385d7d7d2020200000803f000000c0")
accept["no_metadata"] = one(entry())
accept["scalar"] = one(entry("F32", "[]", "[0,4]"), struct.pack("<f", 1.5))
accept["zero_size"] = one(entry("F32", "[0]", "[0,0]"), b"")
accept["zero_size_3_0"] = one(entry("BF16", "[3,0]", "[0,0]"), b"")
accept["zero_size_huge_other_dim"] = one(entry("U8", "[1152921504606846976,0]", "[0,0]"), b"")
accept["zero_sizes_at_one_offset"] = st(
    '{"c":%s,"a":%s,"e":%s,"b":%s,"d":%s}' % (
        entry("F32", "[0]", "[8,8]"), entry(), entry("I64", "[0,5]", "[0,0]"),
        entry("U8", "[0]", "[8,8]"), entry("BOOL", "[0]", "[8,8]")), b"\0" * 8)
accept["f4_two_per_byte"] = one(entry("F4", "[4,8]", "[0,16]"), bytes(range(16)))
accept["f6_four_in_three_bytes"] = one(entry("F6_E2M3", "[4]", "[0,3]"), b"\1\2\3")
accept["f8_all_kinds"] = st("{%s}" % ",".join(
    '"%s":%s' % (t, entry(t, "[3]", "[%d,%d]" % (3 * i, 3 * i + 3))) for i, t in enumerate(
        ["F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"])), bytes(range(15)))
ALL = [("BOOL", 1), ("F4", 1), ("F6_E2M3", 6), ("F6_E3M2", 6), ("U8", 1), ("I8", 1), ("F8_E5M2", 1),
       ("F8_E4M3", 1), ("F8_E8M0", 1), ("F8_E4M3FNUZ", 1), ("F8_E5M2FNUZ", 1), ("I16", 2),
       ("U16", 2), ("F16", 2), ("BF16", 2), ("I32", 4), ("U32", 4), ("F32", 4), ("C64", 8),
       ("F64", 8), ("I64", 8), ("U64", 8)]


def all_types():
    at, entries = 0, []
    for name, size in ALL:
        count = {"F4": 2, "F6_E2M3": 8, "F6_E3M2": 8}.get(name, 1)
        entries.append('"%s":%s' % (name, entry(name, "[%d]" % count, "[%d,%d]" % (at, at + size))))
        at += size
    return st("{%s}" % ",".join(entries), bytes(at))


accept["all_types"] = all_types()
accept["odd_header_length"] = st('{"a":%s}' % entry() + " " * ((len(entry()) + 7) % 2), b"\0" * 8)
accept["odd_u8_misaligns_next"] = st('{"a":%s,"b":%s}' % (
    entry("U8", "[3]", "[0,3]"), entry("F32", "[1]", "[3,7]")), bytes(7))
accept["header_order_is_not_data_order"] = st('{"b":%s,"a":%s}' % (
    entry("F32", "[2]", "[8,16]"), entry("F32", "[2]", "[0,8]")), bytes(16))
accept["keys_in_another_order"] = one('{"data_offsets":[0,8],"shape":[2],"dtype":"F32"}')
accept["metadata_last"] = st('{"a":%s,"__metadata__":{"format":"pt"}}' % entry(), bytes(8))
accept["white_space_before"] = st(" \t\r\n" + '{"a":%s}' % entry(), bytes(8))
accept["white_space_after"] = st('{"a":%s}' % entry() + " \t\r\n", bytes(8))
accept["white_space_everywhere"] = st(
    '{ "a" :\n{ "dtype" : "F32" ,\t"shape" : [ 2 ] ,\r\n"data_offsets" : [ 0 , 8 ] } }', bytes(8))
accept["padded_to_1024"] = st(('{"a":%s}' % entry()).ljust(1024 - 8), bytes(8))
accept["name_utf8"] = named("größe.权重.🦙")
accept["name_escaped"] = named(r"gr\u00f6\u00dfe.\ud83e\udd99\/\"\\")
accept["name_slashes_and_spaces"] = named("/model layers/0/w")
accept["name_1024_bytes"] = named("n" * 1024)
accept["name_1024_bytes_escaped"] = named("\\u006e" * 500 + "n" * 524)
accept["names_differ_in_case"] = st('{"a":%s,"A":%s}' % (
    entry("U8", "[1]", "[0,1]"), entry("U8", "[1]", "[1,2]")), b"\0\0")
accept["names_dtype_shape"] = st('{"dtype":%s,"shape":%s}' % (
    entry("U8", "[1]", "[0,1]"), entry("U8", "[1]", "[1,2]")), b"\0\0")
accept["sixteen_dims"] = one(entry("U8", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2]", "[0,2]"), b"\0\0")
accept["metadata_escapes"] = metadata(r'{"notes":"line\nline\t\u00e9 \"quoted\"","":"empty key"}')
accept["metadata_mlx"] = metadata('{"format":"mlx"}')
accept["metadata_alias"] = metadata('{"format":"pt","lm_head.weight":"a"}')
accept["values_nan_inf"] = one(entry(), struct.pack("<ff", float("nan"), float("inf")))

# ---- files to refuse: the length and the size of the file ----

GOOD = '{"a":%s}' % entry()
reject["zero_bytes"] = b""
reject["seven_bytes"] = b"\2\0\0\0\0\0\0"
reject["length_zero"] = raw(0, "")
reject["length_zero_then_text"] = raw(0, "{}")
reject["length_one"] = raw(1, "{")
reject["length_beyond_file"] = raw(3, "{}")
reject["length_cap_plus_one"] = raw(100000001, GOOD, bytes(8))
reject["length_2_to_63"] = raw(1 << 63, GOOD, bytes(8))
reject["length_all_ones"] = raw((1 << 64) - 1, GOOD, bytes(8))
reject["length_wraps_with_eight"] = raw((1 << 64) - 8, GOOD, bytes(8))
reject["length_big_endian"] = struct.pack(">Q", 2) + b"{}"
reject["length_one_short"] = raw(len(GOOD) - 1, GOOD, bytes(8))
reject["length_one_long"] = raw(len(GOOD) + 1, GOOD, bytes(8))
reject["data_truncated"] = st(GOOD, bytes(7))
reject["data_missing"] = st(GOOD)
reject["data_appended"] = st(GOOD, bytes(9))
reject["zip_behind_the_data"] = st(GOOD, bytes(8) + b"PK\5\6" + bytes(18))
reject["empty_with_data"] = st("{}", b"\0")
reject["pickle_file"] = b"\x80\x02}q\x00." + bytes(26)
reject["zip_file"] = b"PK\3\4" + bytes(60)
reject["git_lfs_pointer"] = (b"version https://git-lfs.github.com/spec/v1\n"
                             b"oid sha256:" + b"0" * 64 + b"\nsize 12345\n")

# ---- the text ----

reject["only_spaces"] = st("        ")
reject["array_header"] = st("[]")
reject["string_header"] = st('"a"')
reject["null_header"] = st("null")
reject["nul_padding"] = st(GOOD + "\0\0\0", bytes(8))
reject["nul_before"] = st("\0" + GOOD, bytes(8))
reject["byte_order_mark"] = st("\ufeff" + GOOD, bytes(8))
reject["text_behind_object"] = st(GOOD + " x", bytes(8))
reject["two_objects"] = st(GOOD + "{}", bytes(8))
reject["unclosed_object"] = st(GOOD[:-1], bytes(8))
reject["unclosed_string"] = st('{"a')
reject["string_ends_in_backslash"] = st('{"a\\')
reject["trailing_comma"] = st(GOOD[:-1] + ",}", bytes(8))
reject["leading_comma"] = st("{," + GOOD[1:], bytes(8))
reject["missing_comma"] = st(GOOD[:-1] + ' "b":%s}' % entry("U8", "[0]", "[8,8]"), bytes(8))
reject["missing_colon"] = st('{"a" %s}' % entry(), bytes(8))
reject["single_quotes"] = st(GOOD.replace('"', "'"), bytes(8))
reject["bare_key"] = st("{a:%s}" % entry(), bytes(8))
reject["comment"] = st("{/* x */" + GOOD[1:], bytes(8))
reject["form_feed_space"] = st("{\f" + GOOD[1:], bytes(8))
reject["no_break_space"] = st("{\u00a0" + GOOD[1:], bytes(8))
reject["deep_nesting"] = st('{"a":' * 700)
reject["deep_arrays"] = one('{"dtype":"F32","shape":' + "[" * 2000)

# ---- names ----

reject["name_latin1"] = named(b"gr\xf6sse")
reject["name_overlong_utf8"] = named(b"a\xc0\x80b")
reject["name_utf8_surrogate"] = named(b"a\xed\xa0\x80b")
reject["name_utf8_beyond_unicode"] = named(b"a\xf4\x90\x80\x80b")
reject["name_utf8_cut"] = named(b"a\xe2\x82")
reject["name_raw_newline"] = named("a\nb")
reject["name_raw_nul"] = named("a\0b")
reject["name_escaped_nul"] = named(r"a\u0000b")
reject["name_escaped_newline"] = named(r"a\nb")
reject["name_escaped_control"] = named(r"a\u001b[31mb")
reject["name_del"] = named("a\x7fb")
reject["name_c1_control"] = named(r"a\u009bb")
reject["name_high_surrogate"] = named(r"a\ud83db")
reject["name_low_surrogate"] = named(r"a\udd99b")
reject["name_two_high_surrogates"] = named(r"\ud83e\ud83e")
reject["name_bad_hex"] = named(r"\u00g0")
reject["name_short_hex"] = named(r"\u00e")
reject["name_unknown_escape"] = named(r"\x41")
reject["name_capital_u_escape"] = named(r"\U00000041")
reject["name_empty"] = named("")
reject["name_slash"] = named("/")
reject["name_slashes"] = named(r"/\//")
reject["name_1025_bytes"] = named("n" * 1025)
reject["name_number"] = st("{1:%s}" % entry(), bytes(8))

# ---- duplicates ----

SAME = entry("U8", "[1]", "[0,1]")
NEXT = entry("U8", "[1]", "[1,2]")
reject["duplicate_tensor"] = st('{"a":%s,"a":%s}' % (SAME, NEXT), b"\0\0")
reject["duplicate_tensor_escaped"] = st(r'{"a":%s,"\u0061":%s}' % (SAME, NEXT), b"\0\0")
reject["duplicate_tensor_far_apart"] = st('{"a":%s,%s,"a":%s}' % (
    SAME, ",".join('"t%d":%s' % (i, entry("U8", "[0]", "[1,1]")) for i in range(40)), NEXT), b"\0\0")
reject["duplicate_dtype"] = one('{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}')
reject["duplicate_shape_escaped"] = one(
    r'{"dtype":"F32","shape":[2],"sh\u0061pe":[2],"data_offsets":[0,8]}')
reject["duplicate_offsets"] = one(
    '{"dtype":"F32","shape":[2],"data_offsets":[0,8],"data_offsets":[0,8]}')
reject["duplicate_metadata"] = st('{"__metadata__":{},"a":%s,"__metadata__":{}}' % entry(), bytes(8))
reject["duplicate_metadata_escaped"] = st(
    r'{"__metadata__":{},"a":%s,"\u005f_metadata__":{}}' % entry(), bytes(8))
reject["duplicate_metadata_key"] = metadata('{"format":"pt","format":"tf"}')

# ---- metadata ----

reject["metadata_number"] = metadata('{"steps":100}')
reject["metadata_null_value"] = metadata('{"format":null}')
reject["metadata_nested"] = metadata('{"format":{"a":"b"}}')
reject["metadata_list"] = metadata('["pt"]')
reject["metadata_null"] = metadata("null")
reject["metadata_string"] = metadata('"pt"')
reject["metadata_is_a_tensor"] = st('{"__metadata__":%s}' % entry(), bytes(8))
reject["metadata_value_nul"] = metadata(r'{"format":"p\u0000t"}')
reject["metadata_trailing_comma"] = metadata('{"format":"pt",}')

# ---- entries ----

reject["entry_null"] = one("null")
reject["entry_array"] = one('["F32",[2],[0,8]]')
reject["entry_empty"] = one("{}")
reject["dtype_missing"] = one('{"shape":[2],"data_offsets":[0,8]}')
reject["shape_missing"] = one('{"dtype":"F32","data_offsets":[0,8]}')
reject["offsets_missing"] = one('{"dtype":"F32","shape":[2]}')
reject["unknown_key"] = one('{"dtype":"F32","shape":[2],"data_offsets":[0,8],"strides":[1]}')
reject["key_in_capitals"] = one('{"DTYPE":"F32","shape":[2],"data_offsets":[0,8]}')
reject["dtype_unknown"] = one(entry("F33"))
reject["dtype_lower_case"] = one(entry("f32"))
reject["dtype_empty"] = one(entry(""))
reject["dtype_prefix"] = one(entry("F3"))
reject["dtype_longer"] = one(entry("F32 "))
reject["dtype_very_long"] = one(entry("F32" * 500))
reject["dtype_number"] = one('{"dtype":17,"shape":[2],"data_offsets":[0,8]}')
reject["dtype_null"] = one('{"dtype":null,"shape":[2],"data_offsets":[0,8]}')

NUMBERS = {"negative": "-2", "plus": "+2", "minus_zero": "-0", "fraction": "2.0", "exponent": "2e0",
           "leading_zero": "02", "string": '"2"', "null": "null", "true": "true", "hex": "0x2",
           "nan": "NaN", "nothing": "", "nested": "[2]", "2_to_63": "9223372036854775808",
           "2_to_64_plus_two": "18446744073709551618", "endless": "2" * 400}
for why, number in NUMBERS.items():
    reject["shape_" + why + "_element"] = one(entry("F32", "[1,%s]" % number))
    reject["offset_" + why] = one(entry("F32", "[2]", "[0,%s]" % number.replace("2", "8")
                                        if not why.startswith("2_") else "[0,%s]" % number))
reject["shape_object"] = one(entry("F32", "{}"))
reject["shape_number"] = one(entry("F32", "2"))
reject["shape_trailing_comma"] = one(entry("F32", "[2,]"))
reject["shape_unclosed"] = one('{"dtype":"F32","shape":[2,"data_offsets":[0,8]}')
reject["shape_17_dims"] = one(entry("U8", "[%s]" % ",".join(["1"] * 17), "[0,1]"), b"\0")
reject["offsets_one"] = one(entry("F32", "[2]", "[8]"))
reject["offsets_three"] = one(entry("F32", "[2]", "[0,8,8]"))
reject["offsets_empty"] = one(entry("F32", "[2]", "[]"))
reject["offsets_object"] = one(entry("F32", "[2]", '{"begin":0,"end":8}'))
reject["offsets_reversed"] = one(entry("F32", "[2]", "[8,0]"))

# ---- sizes and layout ----

reject["shape_wraps_to_zero"] = one(entry("F32", "[4294967296,4294967296]", "[0,0]"), b"")
reject["shape_wraps_to_eight"] = one(entry("F32", "[4611686018427387906]", "[0,8]"))
reject["shape_bits_overflow"] = one(entry("F64", "[576460752303423488]", "[0,0]"), b"")
reject["shape_zero_hides_overflow"] = one(entry("U8", "[0,4294967296,4294967296,16]", "[0,0]"), b"")
reject["range_too_large"] = one(entry("F32", "[1]", "[0,8]"))
reject["range_too_small"] = one(entry("F32", "[3]", "[0,8]"))
reject["zero_size_with_bytes"] = one(entry("F32", "[0]", "[0,8]"))
reject["scalar_without_bytes"] = one(entry("F32", "[]", "[0,0]"), b"")
reject["f4_odd_count"] = one(entry("F4", "[3]", "[0,2]"), b"\0\0")
reject["f6_not_whole_bytes"] = one(entry("F6_E3M2", "[3]", "[0,3]"), b"\0\0\0")
reject["range_outside_file"] = one(entry("U8", "[1000000]", "[0,1000000]"))
reject["range_far_outside_file"] = one(
    entry("U8", "[9223372036854775807]", "[0,9223372036854775807]"))
reject["first_not_at_zero"] = one(entry("F32", "[1]", "[4,8]"))
reject["zero_size_not_at_zero"] = one(entry("F32", "[0]", "[8,8]"))
reject["overlap"] = two((0, 5), (4, 8), 8)
reject["same_range_twice"] = two((0, 8), (0, 8), 8)
reject["range_inside_another"] = two((0, 8), (2, 4), 8)
reject["zero_size_inside_another"] = two((0, 8), (4, 4), 8)
reject["hole"] = two((0, 3), (4, 8), 8)
reject["hole_before_zero_size"] = two((0, 7), (8, 8), 8)
reject["amplification"] = st("{%s}" % ",".join(
    '"t%02d":%s' % (i, entry()) for i in range(50)), bytes(8))


def corpus():
    """Headers of all files that have one, for the fuzzer; the data become a count."""
    files = {}
    for kind, cases in (("accept", accept), ("reject", reject)):
        for name, data in cases.items():
            if len(data) < 8 or len(data) > 2000:
                continue
            n = struct.unpack("<Q", data[:8])[0]
            if n <= len(data) - 8:
                files[kind + "_" + name] = struct.pack("<Q", len(data) - 8 - n) + data[8:8 + n]
    return files


def main():
    check, wrong = sys.argv[1:] == ["--check"], 0
    folders = {"accept": (accept, ".safetensors"), "reject-3": (reject, ".safetensors"),
               CORPUS: (corpus(), "")}
    for folder, (files, suffix) in folders.items():
        folder = os.path.join(HERE, folder)
        os.makedirs(folder, exist_ok=True)
        for name, data in sorted(files.items()):
            path = os.path.join(folder, name + suffix)
            if not check:
                with open(path, "wb") as f:
                    f.write(data)
            elif not os.path.exists(path) or open(path, "rb").read() != data:
                print("differs:", os.path.relpath(path, HERE))
                wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
