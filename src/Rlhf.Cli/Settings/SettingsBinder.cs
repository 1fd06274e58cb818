using System.CommandLine;
using System.Reflection;
using System.Text.RegularExpressions;
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
                : setting.IsRepeated ? new Option<string[]>(setting.Flag) { Arity = ArgumentArity.OneOrMore, AllowMultipleArgumentsPerToken = false }
                : setting.BareValue is null ? new Option<string>(setting.Flag) : OptionThatMayStandAlone(setting);
            option.Description = setting.Help;
            if (setting.ValueType.IsEnum)
                option.CompletionSources.Add([.. SettingValue.Choices(setting.ValueType)]);
            command.Add(option);
        }
    }

    /// <summary>Binds what was given on the command line, and where that says nothing, by layers of settings.</summary>
    /// <exception cref="ConfigurationException">Lists every problem.</exception>
    /// <param name="command">The command line.</param>
    /// <param name="layers">The layers; each wins over those before it.</param>
    /// <param name="withInputs">Look whether what the settings name is there.</param>
    public BoundSettings Bind(ParseResult command, IReadOnlyList<SettingsLayer>? layers = null, bool withInputs = false) =>
        Bind(Flags(command), layers ?? [], withInputs);

    /// <summary>What was given, whatever is wrong with it: to choose further layers by.</summary>
    public BoundSettings Preview(ParseResult command, params IReadOnlyList<SettingsLayer> layers) => Fill(Flags(command), layers, []).Bound;

    /// <summary>Binds flags by name and the entries of a file.</summary>
    /// <exception cref="ConfigurationException">Lists every problem.</exception>
    public BoundSettings Bind(IReadOnlyDictionary<string, string> flags, IReadOnlyList<FileEntry> entries, string file = "") =>
        Bind(flags, [new SettingsLayer(file, entries)], withInputs: false);

    private BoundSettings Bind(IReadOnlyDictionary<string, string> flags, IReadOnlyList<SettingsLayer> layers, bool withInputs)
    {
        List<string> problems = [];
        var (bound, given) = Fill(flags, layers, problems);
        problems.AddRange(checks.SelectMany(check => check(bound)));
        foreach (var (setting, from) in withInputs ? given.AsEnumerable() : [])
            if (setting.Input is { } input && from.Value is string { Length: > 0 } named)
                problems.AddRange(input.Problems(named).Select(p => WithPlace($"{setting.Flag} {p}", from.Place)));
        ConfigurationException.ThrowIfAny(problems);
        return bound;
    }

    private (BoundSettings Bound, Dictionary<Setting, Given> Given) Fill(
        IReadOnlyDictionary<string, string> flags, IReadOnlyList<SettingsLayer> layers, List<string> problems)
    {
        var byKey = Settings.ToDictionary(s => Setting.Normalize(s.Key));
        var given = new Dictionary<Setting, Given>();
        foreach (var (source, entry) in layers.SelectMany(layer => layer.Entries.Select(entry => (layer.Name, entry))))
        {
            string place = $"{source}, line {entry.Line}";
            if (!byKey.TryGetValue(Setting.Normalize(entry.Key), out var setting))
                problems.Add($"{place}: unknown setting '{SettingValue.Shorten(entry.Key)}'"
                    + Suggest(entry.Key, Settings.Select(s => s.Key)));
            else if (entry.IsList && !setting.IsRepeated)
                problems.Add($"{place}: '{SettingValue.Shorten(entry.Key)}' needs a single value; settings are not grouped or nested.");
            else if (entry.IsNull && !setting.AllowsNone)
                problems.Add($"{place}: {setting.Key} has no value.");
            else if (entry.IsNull)
                given[setting] = new(null, source, place);
            else if (SettingValue.TryParse(setting, entry.Value, out var value, out var problem))
                given[setting] = new(value, source, place);
            else
                problems.Add($"{place}: {setting.Key}: {problem}.");
        }
        foreach (var setting in Settings)
            if (flags.TryGetValue(setting.Flag, out var text))
            {
                if (SettingValue.TryParse(setting, text, out var value, out var problem))
                    given[setting] = new(value, BoundSettings.FromFlags, null);
                else
                    problems.Add($"{setting.Flag}: {problem}.");
            }
        var records = groups.ToDictionary(g => g.Type, g => Fill(g, given));
        foreach (var group in groups)
            problems.AddRange(group.Validate(records[group.Type]).Select(p => InTheUsersWords(p, given)));
        return (new(records, [.. Settings], given.ToDictionary(g => g.Key, g => g.Value.Source)), given);
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
        return setting.IsRepeated ? string.Join(RepeatedAttribute.Separator, result.Tokens.Select(t => t.Value))
            : result.Tokens.Count > 0 ? result.Tokens[^1].Value : setting.BareValue ?? "";
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

    private static object Fill(Group group, Dictionary<Setting, Given> given)
    {
        var record = group.Create();
        foreach (var setting in group.Settings)
            if (given.TryGetValue(setting, out var entry))
                setting.Property.SetValue(record, entry.Value);
        return record;
    }

    // "BatchSize is 0; …" becomes "--batch-size is 0; … (run.yaml, line 3)".
    private string InTheUsersWords(string problem, Dictionary<Setting, Given> given)
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

    /// <summary>A value and where it comes from; a flag has no place.</summary>
    private sealed record Given(object? Value, string Source, string? Place);

    private sealed record Group(
        Type Type, Func<object> Create, IReadOnlyList<Setting> Settings, Func<object, IEnumerable<string>> Validate);
}
