using Rlhf.Export.Gguf;
using Rlhf.Export.Onnx;
using Rlhf.Runtime;

namespace Rlhf.Export;

/// <summary>The formats that models are exported in: one line each.</summary>
public static class ExportFormats
{
    private static readonly Lock Guard = new();

    private static IReadOnlyList<IExportFormat> all =
    [
        new TransformersFormat(),
        new PeftFormat(),
        new GgufFormat(),
        new OnnxFormat(),
    ];

    /// <summary>All formats, the default first.</summary>
    public static IReadOnlyList<IExportFormat> All => all;

    /// <summary>Adds a format, such as one of another assembly; one of the same <see cref="IExportFormat.Name"/> is replaced.</summary>
    public static void Register(IExportFormat format)
    {
        lock (Guard)
            all = [.. all.Where(f => f.Name != format.Name), format];
    }

    /// <summary>The format of a name.</summary>
    /// <exception cref="ConfigurationException">There is none; the message lists those that there are.</exception>
    public static IExportFormat Of(string name) => all.FirstOrDefault(f => f.Name == name.ToLowerInvariant())
        ?? throw new ConfigurationException([Unknown(name)]);

    /// <summary>What is said of a name that is no format's.</summary>
    internal static string Unknown(string name) => $"Format is {name}; it must be one of {string.Join(", ", all.Select(f => f.Name))}.";

    /// <summary>What is wrong with options for a format: sentences.</summary>
    public static IEnumerable<string> Problems(IExportFormat format, ExportOptions options)
    {
        (string Name, bool IsSet)[] set =
        [
            (nameof(ExportOptions.ValueHead), options.ValueHead),
            (nameof(ExportOptions.MaxShardSize), options.MaxShardSize is not null),
            (nameof(ExportOptions.AdapterOnly), options.AdapterOnly),
        ];
        foreach (var (name, isSet) in set)
            if (isSet && !format.Options.Contains(name))
                yield return $"{name} means nothing for the format {format.Name}; leave it out"
                    + (all.Where(f => f.Options.Contains(name)).Select(f => f.Name).ToArray() is { Length: > 0 } others
                        ? $", or choose the format {string.Join(" or ", others)}." : ".");
        if (options.Type is { } type && ElementTypes.Find(format, type) is null)
            yield return $"Dtype is {type}; the format {format.Name} stores {string.Join(", ", format.Types)}.";
    }

    /// <summary>Refuses options that a format does not take.</summary>
    /// <exception cref="ConfigurationException">Lists what is wrong.</exception>
    internal static void Check(IExportFormat format, ExportOptions options) => ConfigurationException.ThrowIfAny([.. Problems(format, options)]);
}
