using System.CommandLine;
using System.Reflection;
using System.Text.RegularExpressions;
using Rlhf.Runs;
using Rlhf.Runtime;

namespace Rlhf.Cli.Settings;

/// <summary>
/// Turns settings records into flags and file keys. Every public init property of a record is one setting; a flag wins over the
/// file and the file over the record's default. All problems are gathered into one message.
/// </summary>
internal sealed class SettingsBinder
{
    private readonly List<Group> groups = [];
    private readonly List<Func<BoundSettings, IEnumerable<string>>> checks = [];

    /// <summary>All settings in the order of help.</summary>
    public IEnumerable<Setting> Settings => groups.SelectMany(g => g.Settings);

    /// <summary>Adds the properties of a record.</summary>
    /// <param name="section">Heading in help and in written configuration files.</param>
    /// <param name="defaults">The record with the verb's defaults.</param>
    /// <param name="validate">Gives every problem of a record, one sentence each.</param>
    /// <param name="hide">Properties that this verb has no use for: neither flag nor key.</param>
    public SettingsBinder Add<T>(string section, T defaults, Func<T, IEnumerable<string>>? validate = null, params string[] hide)
        where T : class, new()
    {
        foreach (var name in hide)
            if (typeof(T).GetProperty(name) is null)
                throw new ArgumentException($"{typeof(T).Name} has no property {name}.", nameof(hide));
        var settings = InOrder(typeof(T))
            .Where(p => p.SetMethod is { IsPublic: true } && !hide.Contains(p.Name))
            .Select(p => new Setting(section, p, p.GetValue(defaults)))
            .ToArray();
        foreach (var setting in settings)
            if (Settings.FirstOrDefault(s => Setting.Normalize(s.Key) == Setting.Normalize(setting.Key)) is { } twin)
                throw new ArgumentException($"{setting.Flag} is in section '{twin.Section}' and in '{section}'.",
                    nameof(defaults));
        groups.Add(new(typeof(T), () => Copy(defaults), settings, record => validate?.Invoke((T)record) ?? []));
        return this;
    }

    /// <summary>A record's properties as they are declared, those of its base records first.</summary>
    private static IEnumerable<PropertyInfo> InOrder(Type record)
    {
        static MethodInfo First(PropertyInfo property) => property.GetMethod!.GetBaseDefinition();
        static int Depth(Type? type) => type is null ? 0 : 1 + Depth(type.BaseType);
        return record.GetProperties().OrderBy(p => Depth(First(p).DeclaringType)).ThenBy(p => First(p).MetadataToken);
    }

    /// <summary>Adds what concerns several records.</summary>
    /// <param name="problems">Gives every problem, one sentence each, in which settings are called by their flags.</param>
    public SettingsBinder Check(Func<BoundSettings, IEnumerable<string>> problems)
    {
        checks.Add(problems);
        return this;
    }

    /// <summary>Makes a flag of every setting.</summary>
    public void AddOptions(Command command)
    {
        foreach (var setting in Settings)
        {
            Option option = setting.IsSwitch ? new Option<bool>(setting.Flag)
                : setting.BareValue is null ? new Option<string>(setting.Flag) : OptionThatMayStandAlone(setting);
            option.Description = setting.Help;
            if (setting.ValueType.IsEnum)
                option.CompletionSources.Add([.. SettingValue.Choices(setting.ValueType)]);
            command.Add(option);
        }
    }

    /// <summary>Binds what was given on the command line and in a file, and where neither says anything, by a preset.</summary>
    /// <exception cref="ConfigurationException">Lists every problem.</exception>
    /// <param name="command">The command line.</param>
    /// <param name="file">The file, or null.</param>
    /// <param name="preset">What the preset says.</param>
    /// <param name="withInputs">Look whether what the settings name is there.</param>
    public BoundSettings Bind(
        ParseResult command, string? file = null, IReadOnlyList<FileEntry>? preset = null, bool withInputs = false) =>
        Bind(Flags(command), [.. preset ?? [], .. file is null ? [] : YamlSettingsFile.Read(file)], file, withInputs);

    /// <summary>What was given, whatever is wrong with it: to choose a preset by.</summary>
    public BoundSettings Preview(ParseResult command, string? file) =>
        Fill(Flags(command), file is null ? [] : YamlSettingsFile.Read(file), file, []).Bound;

    /// <summary>Binds flags by name and the entries of a file.</summary>
    /// <exception cref="ConfigurationException">Lists every problem.</exception>
    public BoundSettings Bind(
        IReadOnlyDictionary<string, string> flags, IReadOnlyList<FileEntry> entries, string? file = null, bool withInputs = false)
    {
        List<string> problems = [];
        var (bound, given) = Fill(flags, entries, file, problems);
        problems.AddRange(checks.SelectMany(check => check(bound)));
        foreach (var (setting, (value, place)) in withInputs ? given.AsEnumerable() : [])
            if (setting.Input is { } input && value is string { Length: > 0 } named)
                problems.AddRange(input.Problems(named).Select(p => WithPlace($"{setting.Flag} {p}", place)));
        ConfigurationException.ThrowIfAny(problems);
        return bound;
    }

    private (BoundSettings Bound, Dictionary<Setting, (object? Value, string? Place)> Given) Fill(
        IReadOnlyDictionary<string, string> flags, IReadOnlyList<FileEntry> entries, string? file, List<string> problems)
    {
        var byKey = Settings.ToDictionary(s => Setting.Normalize(s.Key));
        var given = new Dictionary<Setting, (object? Value, string? Place)>();
        foreach (var entry in entries)
        {
            string place = $"{file}, line {entry.Line}";
            if (!byKey.TryGetValue(Setting.Normalize(entry.Key), out var setting))
                problems.Add($"{place}: unknown setting '{SettingValue.Shorten(entry.Key)}'"
                    + Suggest(entry.Key, Settings.Select(s => s.Key)));
            else if (entry.IsNull && !setting.AllowsNone)
                problems.Add($"{place}: {setting.Key} has no value.");
            else if (entry.IsNull)
                given[setting] = (null, place);
            else if (SettingValue.TryParse(setting, entry.Value, out var value, out var problem))
                given[setting] = (value, place);
            else
                problems.Add($"{place}: {setting.Key}: {problem}.");
        }
        foreach (var setting in Settings)
            if (flags.TryGetValue(setting.Flag, out var text))
            {
                if (SettingValue.TryParse(setting, text, out var value, out var problem))
                    given[setting] = (value, null);
                else
                    problems.Add($"{setting.Flag}: {problem}.");
            }
        var records = groups.ToDictionary(g => g.Type, g => Fill(g, given));
        foreach (var group in groups)
            problems.AddRange(group.Validate(records[group.Type]).Select(p => InTheUsersWords(p, given)));
        return (new(records, [.. Settings], given.Keys.ToHashSet()), given);
    }

    /// <summary>"; did you mean 'x'?" or a full stop.</summary>
    public static string Suggest(string name, IEnumerable<string> known) =>
        NearestName.Of(name, known) is { } nearest ? $"; did you mean '{nearest}'?" : ".";

    /// <summary>A message of the library with flags for names of settings, as far as they are more than one word.</summary>
    public string NameFlags(string message) => NameFlags(message, Settings);

    /// <inheritdoc cref="NameFlags(string)"/>
    public static string NameFlags(string message, IEnumerable<Setting> settings)
    {
        var flags = settings.ToDictionary(s => s.Property.Name, s => s.Flag);
        return Regex.Replace(message, @"\b([A-Z][a-z0-9]+){2,}\b", match => flags.GetValueOrDefault(match.Value, match.Value));
    }

    private Dictionary<string, string> Flags(ParseResult command) =>
        Settings.Select(s => (Setting: s, Text: FlagText(command, s))).Where(f => f.Text is not null)
            .ToDictionary(f => f.Setting.Flag, f => f.Text!);

    private static string WithPlace(string problem, string? place) => place is null ? problem : $"{problem} ({place})";

    private static string? FlagText(ParseResult command, Setting setting)
    {
        if (command.GetResult(setting.Flag) is not System.CommandLine.Parsing.OptionResult { Implicit: false } result)
            return null;
        return result.Tokens.Count > 0 ? result.Tokens[^1].Value : setting.BareValue ?? "";
    }

    /// <summary>
    /// A flag whose value may be left out. What follows it is its value unless that is a flag (<see cref="UnknownFlags"/>), and an empty value (an unset variable of a shell) does not stand for a missing one.
    /// </summary>
    private Option<string> OptionThatMayStandAlone(Setting setting)
    {
        var option = new Option<string>(setting.Flag) { Arity = ArgumentArity.ZeroOrOne };
        option.Validators.Add(result =>
        {
            if (result.IdentifierTokenCount > 1)
                result.AddError($"{setting.Flag} is given more than once.");
            else if (result.Tokens is not [{ Value: var value }])
                return;
            else if (value.Length == 0)
                result.AddError($"{setting.Flag} is empty; give {setting.ValueName.Trim('[', ']')}, or leave the value out for "
                    + $"{setting.BareValue}.");
        });
        return option;
    }

    private static object Fill(Group group, Dictionary<Setting, (object? Value, string? Place)> given)
    {
        var record = group.Create();
        foreach (var setting in group.Settings)
            if (given.TryGetValue(setting, out var entry))
                setting.Property.SetValue(record, entry.Value);
        return record;
    }

    // "BatchSize is 0; …" becomes "--batch-size is 0; … (run.yaml, line 3)".
    private string InTheUsersWords(string problem, Dictionary<Setting, (object? Value, string? Place)> given)
    {
        var byName = Settings.ToDictionary(s => s.Property.Name);
        string? place = null;
        string text = Regex.Replace(problem, @"\b[A-Z][A-Za-z0-9]+\b", match =>
        {
            if (!byName.TryGetValue(match.Value, out var setting))
                return match.Value;
            place ??= given.TryGetValue(setting, out var entry) ? entry.Place : null;
            return setting.Flag;
        });
        return WithPlace(text, place);
    }

    private static T Copy<T>(T record) where T : new()
    {
        var copy = new T();
        foreach (var property in typeof(T).GetProperties().Where(p => p.SetMethod is { IsPublic: true }))
            property.SetValue(copy, property.GetValue(record));
        return copy;
    }

    private sealed record Group(
        Type Type, Func<object> Create, IReadOnlyList<Setting> Settings, Func<object, IEnumerable<string>> Validate);
}

/// <summary>Settings after defaults, file and flags.</summary>
internal sealed class BoundSettings(
    IReadOnlyDictionary<Type, object> records, IReadOnlyList<Setting> settings, IReadOnlySet<Setting> given)
{
    /// <summary>A record with its values.</summary>
    public T Get<T>() where T : class => (T)records[typeof(T)];

    /// <summary>A record with its values; null when the verb has none of the kind.</summary>
    public T? Find<T>() where T : class => (T?)records.GetValueOrDefault(typeof(T));

    /// <summary>Was the property given by flag or file?</summary>
    public bool IsGiven(string property) => given.Any(s => s.Property.Name == property);

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
                object? value = setting.Property.GetValue(records[setting.Property.ReflectedType!]);
                if (resolved?.TryGetValue(setting.Property.Name, out var later) == true)
                    value = later;
                if (value is string text && pins?.GetValueOrDefault($"{setting.Flag} {text}") is { } pinned)
                    value = pinned;
                lines.Add($"{setting.Key}: {Write(value)}");
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
