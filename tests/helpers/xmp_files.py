"""Sidecars as other programs write them, by the structure that theirs have, and pictures with XMP within."""

import struct
import zlib
from pathlib import Path

from PIL import Image

RDF = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
DARKTABLE = f"""<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF {RDF}>
  <rdf:Description rdf:about=""
    xmlns:exif="http://ns.adobe.com/exif/1.0/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:lr="http://ns.adobe.com/lightroom/1.0/"
    xmlns:darktable="http://darktable.sf.net/"
   exif:DateTimeOriginal="2024:03:06 13:19:33.000"
   xmp:Rating="1"
   xmpMM:DerivedFrom="photo.jpg"
   darktable:xmp_version="5"
   darktable:raw_params="0"
   darktable:auto_presets_applied="1"
   darktable:history_end="2"
   darktable:iop_order_version="4"
   darktable:history_current_hash="c9d8a3e7f2b1">
   <darktable:masks_history>
    <rdf:Seq/>
   </darktable:masks_history>
   <darktable:history>
    <rdf:Seq>
     <rdf:li
      darktable:num="0"
      darktable:operation="exposure"
      darktable:enabled="1"
      darktable:modversion="7"
      darktable:params="00000000000000003333933f00004842000080c00000000001000000"
      darktable:multi_name=""
      darktable:multi_priority="0"
      darktable:blendop_version="13"
      darktable:blendop_params="gz11eJxjYGBgkGAAgRNODGiAEV0AJ2iwh+CRyscOAAdeGQQ="/>
     <rdf:li
      darktable:num="1"
      darktable:operation="sharpen"
      darktable:enabled="0"
      darktable:modversion="1"
      darktable:params="6666263f0000003fcdcccc3d"
      darktable:multi_name="a &lt; b &amp; &quot;c&quot;"
      darktable:multi_priority="0"/>
    </rdf:Seq>
   </darktable:history>
   <dc:subject>
    <rdf:Bag>
     <rdf:li>Straße</rdf:li>
     <rdf:li>夏</rdf:li>
    </rdf:Bag>
   </dc:subject>
   <lr:hierarchicalSubject>
    <rdf:Bag>
     <rdf:li>places|Straße</rdf:li>
    </rdf:Bag>
   </lr:hierarchicalSubject>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""
DIGIKAM = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF {RDF}>
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:digiKam="http://www.digikam.org/ns/1.0/"
    xmlns:MicrosoftPhoto="http://ns.microsoft.com/photo/1.0/"
    xmlns:acdsee="http://ns.acdsee.com/iptc/1.0/"
    xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
    xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"
    xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#"
    xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#"
   xmp:Rating="4"
   xmp:CreatorTool="digiKam-8.4.0"
   digiKam:PickLabel="0"
   digiKam:ColorLabel="0"
   MicrosoftPhoto:Rating="75"
   acdsee:Rating="4"
   tiff:ImageWidth="4032">
   <digiKam:TagsList>
    <rdf:Seq>
     <rdf:li>People/Zoë</rdf:li>
     <rdf:li>Places/Aveiro</rdf:li>
    </rdf:Seq>
   </digiKam:TagsList>
   <mwg-rs:Regions rdf:parseType="Resource">
    <mwg-rs:AppliedToDimensions
     stDim:w="4032"
     stDim:h="3024"
     stDim:unit="pixel"/>
    <mwg-rs:RegionList>
     <rdf:Bag>
      <rdf:li>
       <rdf:Description
        mwg-rs:Name="Zoë"
        mwg-rs:Type="Face">
       <mwg-rs:Area
        stArea:x="0.5"
        stArea:y="0.25"
        stArea:w="0.125"
        stArea:h="0.125"
        stArea:unit="normalized"/>
       </rdf:Description>
      </rdf:li>
     </rdf:Bag>
    </mwg-rs:RegionList>
   </mwg-rs:Regions>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""
LIGHTROOM = f"""<x:xmpmeta xmlns:x="adobe:ns:meta/"
    x:xmptk="Adobe XMP Core 7.0-c000 1.000000, 0000/00/00-00:00:00        ">
 <rdf:RDF {RDF}>
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
   xmp:ModifyDate="2024-03-06T13:19:33+01:00"
   xmp:Label="Red"
   dc:format="image/x-sony-arw"
   crs:Version="16.0"
   crs:ProcessVersion="11.0"
   crs:WhiteBalance="As Shot"
   crs:Temperature="5150"
   crs:Exposure2012="+0.35"
   crs:Highlights2012="-20"
   crs:ToneCurveName2012="Custom"
   crs:HasSettings="True">
   <crs:ToneCurvePV2012>
    <rdf:Seq>
     <rdf:li>0, 20</rdf:li>
     <rdf:li>255, 245</rdf:li>
    </rdf:Seq>
   </crs:ToneCurvePV2012>
   <crs:Look>
    <rdf:Description
     crs:Name="Adobe Color"
     crs:Amount="1">
    <crs:Parameters
     crs:Version="16.0"
     crs:ConvertToGrayscale="False"/>
    </rdf:Description>
   </crs:Look>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""
ELEMENTS = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xapmeta xmlns:x='adobe:ns:meta/' x:xaptk='XMP toolkit 2.9-9, framework 1.6'>
<rdf:RDF {RDF} xmlns:iX='http://ns.adobe.com/iX/1.0/'>
 <rdf:Description about='uuid:1' xmlns:xap='http://ns.adobe.com/xap/1.0/'>
  <xap:CreateDate>2004-01-02T03:04:05Z</xap:CreateDate><!-- <xap:Rating>5</xap:Rating> -->
  <xap:Rating>2</xap:Rating>
 </rdf:Description>
 <rdf:Description about='uuid:1' xmlns:dc='http://purl.org/dc/elements/1.1/'>
  <dc:creator><rdf:Seq><rdf:li>A &amp; B</rdf:li></rdf:Seq></dc:creator>
 </rdf:Description>
</rdf:RDF>
</x:xapmeta>
<?xpacket end='w'?>
"""
WRITTEN = {"darktable": DARKTABLE, "digikam": DIGIKAM, "lightroom": LIGHTROOM, "elements": ELEMENTS}


def packet(properties: str, padding: int = 0) -> bytes:
    """A packet with attributes of one rdf:Description, and room to grow, as it stands within pictures."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF {RDF}><rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
        f'xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmlns:dc="http://purl.org/dc/elements/1.1/" {properties}/>'
        f'</rdf:RDF></x:xmpmeta>{" " * padding}<?xpacket end="w"?>'
    ).encode()


def jpeg(path: Path, xmp: bytes = b"", colour: str = "teal") -> Path:
    """A JPEG with XMP within, or without."""
    Image.new("RGB", (40, 30), colour).save(path, xmp=xmp) if xmp else Image.new("RGB", (40, 30), colour).save(path)
    return path


def png(path: Path, xmp: bytes, late: bool = False, compressed: bool = False) -> Path:
    """A PNG with XMP within, before the pixels or behind them."""
    Image.new("RGB", (40, 30), "teal").save(path)
    data = path.read_bytes()
    text = b"XML:com.adobe.xmp\0" + (b"\1\0" if compressed else b"\0\0") + b"\0\0"
    text += zlib.compress(xmp) if compressed else xmp
    body = b"iTXt" + text
    chunk = struct.pack(">I", len(text)) + body + struct.pack(">I", zlib.crc32(body))
    at = len(data) - 12 if late else 33  # before IEND, or behind IHDR
    path.write_bytes(data[:at] + chunk + data[at:])
    return path
