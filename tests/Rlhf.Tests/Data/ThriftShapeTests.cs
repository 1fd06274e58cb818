using System.Reflection;
using Parquet.Meta;
using Rlhf.Data.Files.Parquet;

namespace Rlhf.Tests.Data;

/// <summary>
/// The parquet library reads a field that it knows by its number, whatever its type, so no field may be known to it alone. Its
/// classes are made from the format's description and have a property for each field, in the order of their numbers.
/// </summary>
public sealed class ThriftShapeTests
{
    [Fact]
    public void EveryFieldThatTheLibraryKnowsIsKnown()
    {
        Same(typeof(FileMetaData), ThriftShape.Footer);
        Same(typeof(PageHeader), ThriftShape.PageHeader);
    }

    private static void Same(System.Type type, ThriftShape shape)
    {
        type = Nullable.GetUnderlyingType(type) ?? type;
        int kind = KindOf(type);
        Assert.True(kind == shape.Type, $"{type.Name} has the type {kind}, and the shape {shape.Type}.");
        if (kind == ThriftShape.List)
            Same(type.GetGenericArguments()[0], shape.Element!);
        if (kind != ThriftShape.Structure)
            return;
        var properties = type.GetProperties(BindingFlags.Public | BindingFlags.Instance).OrderBy(p => p.MetadataToken).ToArray();
        var fields = shape.Fields!.OrderBy(f => f.Key).Select(f => f.Value).ToArray();
        Assert.True(properties.Length == fields.Length, $"{type.Name} has {properties.Length} fields, and the shape {fields.Length}.");
        foreach (var (property, field) in properties.Zip(fields))
            Same(property.PropertyType, field);
    }

    private static int KindOf(System.Type type) =>
        type == typeof(bool) ? ThriftShape.True
        : type == typeof(sbyte) ? ThriftShape.Int8
        : type == typeof(short) ? ThriftShape.Int16
        : type == typeof(int) || type.IsEnum ? ThriftShape.Int32
        : type == typeof(long) ? ThriftShape.Int64
        : type == typeof(double) ? ThriftShape.Double
        : type == typeof(string) || type == typeof(byte[]) ? ThriftShape.Binary
        : type.IsGenericType && type.GetGenericTypeDefinition() == typeof(List<>) ? ThriftShape.List
        : ThriftShape.Structure;
}
