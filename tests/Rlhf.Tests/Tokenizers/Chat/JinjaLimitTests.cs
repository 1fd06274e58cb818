using System.Text.Json;
using Rlhf.Tokenizers.Chat.Jinja;

namespace Rlhf.Tests.Tokenizers.Chat;

/// <summary>Templates come from strangers: none runs long, grows without bound or reaches anything but its variables.</summary>
public class JinjaLimitTests
{
    private static readonly JsonElement Variables = JsonDocument.Parse("""{"x": [3, 1, 2], "d": {"a": 1}}""").RootElement;

    [Theory]
    [InlineData("{{ 'a' * 10**9 }}")]
    [InlineData("{{ ('a' * 10**6) * 10**6 }}")]
    [InlineData("{{ [0] * 10**9 }}")]
    [InlineData("{{ (1, 2) * 10**12 }}")]
    [InlineData("{{ 10 ** 10000 }}")]
    [InlineData("{{ 'a'.center(10**9) }}")]
    [InlineData("{{ 'a'.ljust(10**18) }}")]
    [InlineData("{{ 'a'.zfill(10**9) }}")]
    [InlineData("{{ '\t'.expandtabs(10**9) }}")]
    [InlineData("{{ 'a'|center(10**9) }}")]
    [InlineData("{{ 'a\nb'|indent(10**9) }}")]
    [InlineData("{{ '%999999999d' % 1 }}")]
    [InlineData("{{ '%.999999999f' % 1 }}")]
    [InlineData("{{ '%*d' % (10**9, 1) }}")]
    [InlineData("{{ '%99999999999999999999d' % 1 }}")]
    [InlineData("{{ '{:>999999999}'.format(1) }}")]
    [InlineData("{{ '{:>{}}'.format(1, 10**9) }}")]
    [InlineData("{{ '{:0999999999,}'.format(1) }}")]
    [InlineData("{{ x|tojson(indent=10**9) }}")]
    [InlineData("{{ x|batch(10**9, 0)|list }}")]
    [InlineData("{{ x|slice(10**9)|list }}")]
    [InlineData("{{ ('a' * 10**6).replace('', 'b' * 10**6) }}")]
    [InlineData("{{ ('b' * 10**6)|join('c' * 10**6) }}")]
    [InlineData("{{ range(10**6) }}")]
    [InlineData("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}")]
    [InlineData("{% for a in range(100000) %}{{ 'a' * 1000 }}{% endfor %}")]
    [InlineData("{% set ns = namespace(a='a') %}{% for i in range(1000) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}")]
    [InlineData("{% set ns = namespace(a=[1]) %}{% for i in range(1000) %}{% set ns.a = ns.a + ns.a %}{% endfor %}")]
    [InlineData("{% set ns = namespace(a=[1]) %}{% for i in range(1000) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a }}")]
    [InlineData("{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a|tojson|length }}")]
    [InlineData("{% set ns = namespace(a=(1, 1), b=(1, 1)) %}{% for i in range(60) %}{% set ns.a = (ns.a, ns.a) %}{% set ns.b = (ns.b, ns.b) %}{% endfor %}{{ ns.a == ns.b }}")]
    [InlineData("{% set ns = namespace(a=(1, 1)) %}{% for i in range(60) %}{% set ns.a = (ns.a, ns.a) %}{% endfor %}{{ {ns.a: 1}|length }}")]
    [InlineData("{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}")]
    [InlineData("{% macro g() %}{{ g() }}{% endmacro %}{{ g() }}")]
    [InlineData("{% macro g(n) %}{{ g(n + 1) ~ g(n + 2) }}{% endmacro %}{{ g(0) }}")]
    [InlineData("{% for a in [x] recursive %}{{ loop([x]) }}{% endfor %}")]
    [InlineData("{% macro g() %}{{ caller() }}{% endmacro %}{% macro h() %}{% call g() %}{{ h() }}{% endcall %}{% endmacro %}{{ h() }}")]
    [InlineData("{{ ('a' * 10**7)|wordwrap(1)|length }}")]
    public void What_grows_or_runs_long_is_stopped(string source)
    {
        var error = Assert.Throws<JinjaException>(() => ChatFixtures.Render(source, Variables, default));
        Assert.Equal(JinjaFault.Limit, error.Fault);
        Assert.True(error.Line >= 0);
    }

    [Theory]
    [InlineData("(", ")")]
    [InlineData("[", "]")]
    [InlineData("{1: ", "}")]
    [InlineData("not ", "")]
    [InlineData("-", "")]
    [InlineData("1 if ", "")]
    [InlineData("x[", "]")]
    [InlineData("f(", ")")]
    [InlineData("1 + ", "")]
    [InlineData("1 ** ", "")]
    [InlineData("1 and ", "")]
    [InlineData("1 if 1 else ", "")]
    [InlineData("1|string(", ")")]
    public void Deep_nesting_is_an_error_and_no_crash(string begin, string end)
    {
        var source = "{{ " + string.Concat(Enumerable.Repeat(begin, 100_000)) + "1" + string.Concat(Enumerable.Repeat(end, 100_000)) + " }}";
        Assert.Throws<JinjaException>(() => ChatFixtures.Render(source, Variables, default));
    }

    [Theory]
    [InlineData("{% if 1 %}", "{% endif %}")]
    [InlineData("{% for a in [1] %}", "{% endfor %}")]
    [InlineData("{% set a %}", "{% endset %}")]
    [InlineData("{% filter upper %}", "{% endfilter %}")]
    [InlineData("{% generation %}", "{% endgeneration %}")]
    public void Deeply_nested_blocks_are_an_error_and_no_crash(string begin, string end)
    {
        var source = string.Concat(Enumerable.Repeat(begin, 20_000)) + string.Concat(Enumerable.Repeat(end, 20_000));
        Assert.Throws<JinjaException>(() => ChatFixtures.Render(source, Variables, default));
    }

    [Theory]
    [InlineData("{{ ''.__class__.__mro__ }}")]
    [InlineData("{{ x.append(1) }}")]
    [InlineData("{{ d.update(b=1) }}")]
    [InlineData("{{ ''|attr('__class__')|attr('__base__') }}")]
    [InlineData("{{ '{0.__class__.__init__}'.format(x) }}")]
    [InlineData("{{ raise_exception.__globals__.x }}")]
    [InlineData("{% include '/etc/passwd' %}")]
    [InlineData("{{ x|random }}")]
    public void Nothing_outside_is_reached_and_nothing_given_is_changed(string source) =>
        Assert.Throws<JinjaException>(() => ChatFixtures.Render(source, Variables, default));

    [Fact]
    public void Texts_that_repeat_themselves_are_searched_in_linear_work()
    {
        // Quadratic, this would be 10^12 comparisons, which no budget of steps counted before.
        Assert.Equal("-1 False 1", ChatFixtures.Render(
            "{% set a = 'a' * 10**6 %}{% set b = 'a' * 500000 ~ 'b' %}{{ a.find(b) }} {{ b in a }} {{ a.split(b)|length }}", Variables, default));
    }

    [Fact]
    public void A_long_conversation_is_far_from_the_limits()
    {
        var source = "{% set ns = namespace(n=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.n = ns.n + 1 %}{% endif %}"
            + "{{ '<' ~ m.role ~ '>' ~ m.content|trim ~ '</s>' }}{% endfor %}{{ ns.n }}";
        var messages = Enumerable.Range(0, 5000).Select(i => new { role = i % 2 == 0 ? "user" : "assistant", content = new string('a', 1000) });
        var text = ChatFixtures.Render(source, JsonSerializer.SerializeToElement(new { messages }), default);
        Assert.EndsWith("2500", text, StringComparison.Ordinal);
    }
}
