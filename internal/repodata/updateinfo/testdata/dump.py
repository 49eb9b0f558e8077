# dump.py FILE: writes what createrepo_c's library reads of an updateinfo.xml.
import ctypes
import sys

for name in ("libcreaterepo_c.so.0", "libcreaterepo_c.so.1"):
    try:
        lib = ctypes.CDLL(name)
        break
    except OSError:
        pass
else:
    sys.exit(77)  # the library isn't here
lib.cr_updateinfo_new.restype = ctypes.c_void_p
lib.cr_xml_parse_updateinfo.argtypes = [ctypes.c_char_p] + [ctypes.c_void_p] * 4
lib.cr_xml_dump_updateinfo.argtypes = [ctypes.c_void_p] * 2
lib.cr_xml_dump_updateinfo.restype = ctypes.c_char_p
lib.cr_xml_dump_init()
if hasattr(lib, "cr_xml_dump_set_parameter"):
    lib.cr_xml_dump_set_parameter(0, 1)  # CR_XML_DUMP_DO_PRETTY_PRINT, which older ones always do
warn = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p)(
    lambda kind, msg, data, err: sys.exit("warning: " + msg.decode()))
info = lib.cr_updateinfo_new()
if lib.cr_xml_parse_updateinfo(sys.argv[1].encode(), info, ctypes.cast(warn, ctypes.c_void_p), None, None) != 0:
    sys.exit("it can't be parsed")
sys.stdout.buffer.write(lib.cr_xml_dump_updateinfo(info, None))
