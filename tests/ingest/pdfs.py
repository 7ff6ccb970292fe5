"""PDFs as they are, and as somebody makes them to hold up whoever reads them."""

from io import BytesIO

from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, DecodedStreamObject, DictionaryObject, NameObject, NumberObject


def pdf(*pages: str, title: str = "", password: str = "") -> bytes:
    writer = PdfWriter()
    for text in pages:
        page = writer.add_blank_page(612, 792)
        font = DictionaryObject(
            {
                NameObject("/Type"): NameObject("/Font"),
                NameObject("/Subtype"): NameObject("/Type1"),
                NameObject("/BaseFont"): NameObject("/Helvetica"),
            }
        )
        fonts = DictionaryObject({NameObject("/F1"): writer._add_object(font)})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        content = DecodedStreamObject()
        lines = "".join(f"({line}) Tj 0 -14 Td " for line in text.splitlines())
        content.set_data(f"BT /F1 12 Tf 72 720 Td {lines}ET".encode("latin-1"))
        page[NameObject("/Contents")] = writer._add_object(content)
    if title:
        writer.add_metadata({"/Title": title})
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def repeating_pdf(pages: int, shows: int) -> bytes:
    """A small file that shows one page many times, and on that a text of nothing many times."""
    writer = PdfWriter(clone_from=PdfReader(BytesIO(pdf("text"))))
    page = writer.pages[0]
    content = DecodedStreamObject()
    content.set_data(b"BT /F1 1 Tf () Tj ET " * shows)
    page[NameObject("/Contents")] = writer._add_object(content.flate_encode())
    tree = writer.root_object["/Pages"].get_object()
    assert isinstance(tree, DictionaryObject)
    tree[NameObject("/Kids")] = ArrayObject([page.indirect_reference] * pages)
    tree[NameObject("/Count")] = NumberObject(pages)
    out = BytesIO()
    writer.write(out)
    return out.getvalue()
