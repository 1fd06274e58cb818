namespace Rlhf.Data.Files.Parquet;

/// <summary>
/// What parquet.thrift says of a value: its type and, of a structure, its fields. The parquet library reads fields by number
/// and takes their types for granted, so that a wrong one makes it read other bytes than were meant. Each field that the library
/// knows must stand here: <see cref="ThriftScan"/> changes the types of all others.
/// </summary>
/// <param name="Type">Type in the compact protocol; a boolean is 1.</param>
/// <param name="Fields">Fields by number; null for what is no structure.</param>
/// <param name="Element">Elements of a list.</param>
internal sealed record ThriftShape(int Type, IReadOnlyDictionary<int, ThriftShape>? Fields = null, ThriftShape? Element = null)
{
    public const int True = 1, False = 2, Int8 = 3, Int16 = 4, Int32 = 5, Int64 = 6, Double = 7, Binary = 8, List = 9,
        Set = 10, Map = 11, Structure = 12, Uuid = 13;

    private static readonly ThriftShape Bool = new(True), I8 = new(Int8), I16 = new(Int16), I32 = new(Int32), I64 = new(Int64),
        F64 = new(Double), Bytes = new(Binary), Nothing = Struct();

    private static readonly ThriftShape KeyValue = Struct((1, Bytes), (2, Bytes));

    private static readonly ThriftShape Statistics = Struct(
        (1, Bytes), (2, Bytes), (3, I64), (4, I64), (5, Bytes), (6, Bytes), (7, Bool), (8, Bool));

    private static readonly ThriftShape TimeUnit = Struct((1, Nothing), (2, Nothing), (3, Nothing));

    private static readonly ThriftShape LogicalType = Struct(
        (1, Nothing), (2, Nothing), (3, Nothing), (4, Nothing), (5, Struct((1, I32), (2, I32))), (6, Nothing),
        (7, Struct((1, Bool), (2, TimeUnit))), (8, Struct((1, Bool), (2, TimeUnit))), (10, Struct((1, I8), (2, Bool))),
        (11, Nothing), (12, Nothing), (13, Nothing), (14, Nothing), (15, Nothing),
        (16, Struct((1, I8))), (17, Struct((1, Bytes))),
        (18, Struct((1, Bytes), (2, I32))));

    private static readonly ThriftShape SchemaElement = Struct(
        (1, I32), (2, I32), (3, I32), (4, Bytes), (5, I32), (6, I32), (7, I32), (8, I32), (9, I32), (10, LogicalType));

    private static readonly ThriftShape BoundingBox = Struct([.. Enumerable.Range(1, 8).Select(id => (id, F64))]);

    private static readonly ThriftShape ColumnMetaData = Struct(
        (1, I32), (2, ListOf(I32)), (3, ListOf(Bytes)), (4, I32), (5, I64), (6, I64), (7, I64), (8, ListOf(KeyValue)),
        (9, I64), (10, I64),
        (11, I64), (12, Statistics), (13, ListOf(Struct((1, I32), (2, I32), (3, I32)))), (14, I64), (15, I32),
        (16, Struct((1, I64), (2, ListOf(I64)), (3, ListOf(I64)))), (17, Struct((1, BoundingBox), (2, ListOf(I32)))));

    private static readonly ThriftShape ColumnChunk = Struct(
        (1, Bytes), (2, I64), (3, ColumnMetaData), (4, I64), (5, I32), (6, I64), (7, I32),
        (8, Struct((1, Nothing), (2, Struct((1, ListOf(Bytes)), (2, Bytes))))), (9, Bytes));

    private static readonly ThriftShape RowGroup = Struct(
        (1, ListOf(ColumnChunk)), (2, I64), (3, I64), (4, ListOf(Struct((1, I32), (2, Bool), (3, Bool)))), (5, I64), (6, I64),
        (7, I16));

    private static readonly ThriftShape Cipher = Struct((1, Bytes), (2, Bytes), (3, Bool));

    /// <summary>The footer, FileMetaData.</summary>
    public static ThriftShape Footer { get; } = Struct(
        (1, I32), (2, ListOf(SchemaElement)), (3, I64), (4, ListOf(RowGroup)), (5, ListOf(KeyValue)), (6, Bytes),
        (7, ListOf(Struct((1, Nothing)))), (8, Struct((1, Cipher), (2, Cipher))), (9, Bytes));

    /// <summary>PageHeader.</summary>
    public static ThriftShape PageHeader { get; } = Struct(
        (1, I32), (2, I32), (3, I32), (4, I32), (5, Struct((1, I32), (2, I32), (3, I32), (4, I32), (5, Statistics))),
        (6, Nothing),
        (7, Struct((1, I32), (2, I32), (3, Bool))),
        (8, Struct((1, I32), (2, I32), (3, I32), (4, I32), (5, I32), (6, I32), (7, Bool), (8, Statistics))));

    private static ThriftShape Struct(params (int Id, ThriftShape Shape)[] fields) =>
        new(Structure, fields.ToDictionary(f => f.Id, f => f.Shape));

    private static ThriftShape ListOf(ThriftShape element) => new(List, Element: element);
}
