using System.Reflection;
using Rlhf.Runs;

namespace Rlhf.Cli.Settings;

/// <summary>Settings after defaults, file and flags.</summary>
internal sealed class BoundSettings(
    IReadOnlyDictionary<Type, object> records, IReadOnlyList<Setting> settings, IReadOnlyDictionary<Setting, string> given)
{
    /// <summary>Source of a value that a flag gave.</summary>
    public const string FromFlags = "flags";

    /// <summary>A record with its values.</summary>
    public T Get<T>() where T : class => (T)records[typeof(T)];

    /// <summary>A record with its values; null when the verb has none of the kind.</summary>
    public T? Find<T>() where T : class => (T?)records.GetValueOrDefault(typeof(T));

    /// <summary>Was the property given by a flag, a file or a preset?</summary>
    public bool IsGiven(string property) => given.Any(s => s.Key.Property.Name == property);

    /// <summary>Was the property given another value than its default? A run's own settings file gives all of them.</summary>
    public bool IsChanged(string property) => given.Keys.Any(s => s.Property.Name == property && !Equals(ValueOf(s), s.Default));

    /// <summary>
    /// Where the values come from that are not the defaults: from flags all that were given, from files, presets and models that ship those that
    /// no flag sets and that differ. The last source stands for all other values.
    /// </summary>
    public IEnumerable<(string Source, string Values)> Sources()
    {
        foreach (var source in given.GroupBy(g => g.Value, g => g.Key).Reverse().OrderBy(g => g.Key == FromFlags ? 0 : 1))
        {
            bool isFlags = source.Key == FromFlags;
            string[] values = [.. settings.Where(source.Contains).Where(s => isFlags || !Equals(ValueOf(s), s.Default))
                .Select(s => s.IsSwitch && isFlags && ValueOf(s) is true ? s.Flag
                    : $"{(isFlags ? s.Flag : s.Key)} {SettingValue.Shorten(SettingValue.Format(ValueOf(s)).Replace(RepeatedAttribute.Separator.ToString(), $" {(isFlags ? s.Flag : "and")} ", StringComparison.Ordinal))}")];
            yield return (source.Key, values.Length == 0 ? "nothing but defaults" : string.Join(", ", values));
        }
        yield return ("default", given.Count == 0 ? "all values" : "all others");
    }

    private object? ValueOf(Setting setting) => setting.Property.GetValue(records[setting.Property.ReflectedType!]);

    /// <summary>Flags by property name.</summary>
    public IReadOnlyDictionary<string, string> Flags => settings.ToDictionary(s => s.Property.Name, s => s.Flag);

    /// <summary>Flags of the settings that a run may be resumed with another value of (<see cref="MayChangeAttribute"/>).</summary>
    public IReadOnlyList<string> MayChange() => [.. settings.Where(s => SessionSettings.MayChange(s.Property, records.Values))
        .Select(s => s.Flag).Distinct().Order(StringComparer.Ordinal)];

    /// <summary>The flag of a key of a settings file.</summary>
    public string FlagOf(string key) => settings.FirstOrDefault(s => s.Key == key)?.Flag ?? key;

    /// <inheritdoc cref="SettingsBinder.NameFlags(string)"/>
    public string NameFlags(string message) => SettingsBinder.NameFlags(message, settings);

    /// <summary>A configuration file that repeats this run.</summary>
    /// <param name="comment">First line of the file.</param>
    /// <param name="resolved">Values that were resolved later than binding, by property name, such as a default folder that
    /// was found.</param>
    /// <param name="pins">Values to write instead of others, by "--flag value".</param>
    public string ToYaml(
        string comment, IReadOnlyDictionary<string, object?>? resolved = null,
        IReadOnlyDictionary<string, string>? pins = null)
    {
        var lines = new List<string> { "# " + comment };
        var kept = settings.Where(s => !s.Property.IsDefined(typeof(NotRecordedAttribute)));
        foreach (var section in kept.GroupBy(s => s.Section))
        {
            lines.Add("");
            lines.Add("# " + section.Key);
            foreach (var setting in section)
            {
                object? value = ValueOf(setting);
                if (resolved?.TryGetValue(setting.Property.Name, out var later) == true)
                    value = later;
                if (value is string text && pins?.GetValueOrDefault($"{setting.Flag} {text}") is { } pinned)
                    value = pinned;
                lines.Add(setting.IsRepeated && value is string several
                    ? $"{setting.Key}: [{string.Join(", ", RepeatedAttribute.Split(several).Select(Quote))}]" : $"{setting.Key}: {Write(value)}");
            }
        }
        return string.Join('\n', lines) + "\n";
    }

    private static string Write(object? value) => value switch
    {
        null => "null",
        string text => Quote(text),
        _ => SettingValue.Format(value),
    };

    private static string Quote(string text) =>
        '"' + string.Concat(text.Select(c =>
            c is '"' or '\\' ? $"\\{c}" : char.IsControl(c) ? $"\\u{(int)c:x4}" : c.ToString())) + '"';
}
