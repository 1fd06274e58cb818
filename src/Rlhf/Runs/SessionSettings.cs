using System.Collections;
using System.Globalization;
using System.Reflection;
using System.Text;
using System.Text.Json;
using Rlhf.Runtime;
using Rlhf.Runtime.Files;

namespace Rlhf.Runs;

/// <summary>A program's records of settings as a flat config.yaml, one <c>key: value</c> a line, and what of it a resumed run may change.</summary>
internal static class SessionSettings
{
    private const int MostBytes = 1 << 20;

    /// <summary>The file's text.</summary>
    public static string ToYaml(string verb, IReadOnlyList<object> records)
    {
        var text = new StringBuilder($"# rlhf {verb} settings of a program's run.\n");
        foreach (var record in records)
        {
            text.Append($"\n# {record.GetType().Name}\n");
            foreach (var property in Properties(record))
                text.Append($"{KeyOf(property)}: {Write(property.GetValue(record))}\n");
        }
        return text.ToString();
    }

    /// <summary>Refuses settings that are not those of config.yaml and may not change; a folder without the file refuses none.</summary>
    /// <exception cref="ConfigurationException">Lists every one.</exception>
    public static void Compare(string path, IReadOnlyList<object> records)
    {
        if (!File.Exists(path) || new FileInfo(path).Length > MostBytes)
            return;
        RegularFile.Require(path);
        var began = File.ReadLines(path).Select(l => l.Split(": ", 2)).Where(l => l.Length == 2 && !l[0].StartsWith('#'))
            .GroupBy(l => l[0]).ToDictionary(l => l.Key, l => l.Last()[1]);
        List<string> refused = [];
        foreach (var record in records)
            foreach (var property in Properties(record))
                if (began.TryGetValue(KeyOf(property), out var was) && was != Write(property.GetValue(record)) && !MayChange(property, records))
                    refused.Add($"{property.Name} is {Write(property.GetValue(record))}, and the run began with {was}.");
        if (refused.Count > 0)
            throw new ConfigurationException([.. refused, "Resume it with its own settings, or begin a new run in another folder."]);
    }

    /// <summary>May a resumed run have another value? What a condition names is looked for in all records.</summary>
    public static bool MayChange(PropertyInfo property, IEnumerable<object> records)
    {
        var may = property.GetCustomAttribute<MayChangeAttribute>() ?? property.ReflectedType!.GetCustomAttribute<MayChangeAttribute>();
        return may is not null && (may.When is not { } condition
            || records.Any(r => r.GetType().GetProperty(condition) is { } when && when.GetValue(r) is true));
    }

    private static IEnumerable<PropertyInfo> Properties(object record) => record.GetType()
        .GetProperties(BindingFlags.Public | BindingFlags.Instance)
        .Where(p => p.CanWrite && p.GetIndexParameters().Length == 0
            && (p.PropertyType.IsValueType || p.PropertyType == typeof(string)) && !typeof(IEnumerable).IsAssignableFrom(
                p.PropertyType == typeof(string) ? typeof(int) : p.PropertyType));

    private static string KeyOf(PropertyInfo property) => JsonNamingPolicy.SnakeCaseLower.ConvertName(property.Name);

    private static string Write(object? value) => value switch
    {
        null => "null",
        bool flag => flag ? "true" : "false",
        string text => JsonSerializer.Serialize(text),
        Enum name => JsonNamingPolicy.KebabCaseLower.ConvertName(name.ToString()),
        IFormattable number => number.ToString(null, CultureInfo.InvariantCulture),
        _ => JsonSerializer.Serialize(value.ToString()),
    };
}
