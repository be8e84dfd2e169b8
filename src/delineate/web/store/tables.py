"""The tables of a store. An image is kept once, however often it is corrected."""

from sqlalchemy import (
    Column,
    DateTime,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData()

meta = Table(
    "delineate_meta", metadata, Column("key", String(40), primary_key=True), Column("value", String(40))
)

images = Table(
    "delineate_images",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

corrections = Table(
    "delineate_corrections",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("stored_at", DateTime(timezone=True), nullable=False),
    Column("fingerprint", String(64), nullable=False, unique=True),
    Column("image_sha256", String(64), ForeignKey("delineate_images.sha256"), nullable=False, index=True),
    Column("filename", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("identity", Text, nullable=False),
    Column("classes", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("mask", LargeBinary),
    Column("predicted_mask", LargeBinary),
    Column("label", Text),
    Column("author", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("seconds", Float),
    Column("grey_window", Text),  # "window" is a word of SQL
    sqlite_autoincrement=True,
)
