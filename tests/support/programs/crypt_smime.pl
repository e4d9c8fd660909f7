# What crypt_smime.py asks of Crypt::SMIME: one thing, then it ends. Input and output are
# files; what Crypt::SMIME dies of goes to stderr.
use strict;
use warnings;
use Crypt::SMIME;

my ($action, $source, $output, @papers) = @ARGV;

sub content {
    my ($name) = @_;
    open my $file, '<:raw', $name or die "$name: $!\n";
    local $/;
    return scalar <$file>;
}

my $smime = Crypt::SMIME->new;
my $mail = content($source);
my $result;
if ($action eq 'verify') {    # root
    $smime->setPublicKeyStore($papers[0]);
    $result = $smime->check($mail);
    print map { "$_\n" } @{ Crypt::SMIME::getSigners($mail) };
} elsif ($action eq 'decrypt') {    # key, certificate
    $smime->setPrivateKey(map { content($_) } @papers);
    $result = $smime->decrypt($mail);
} elsif ($action eq 'sign') {    # key, certificate, certificates above
    my ($key, $certificate, $chain) = map { content($_) } @papers;
    $smime->setPrivateKey($key, $certificate);
    $smime->setPublicKey($chain);
    $result = $smime->sign($mail);
} elsif ($action eq 'encrypt') {    # certificates of recipients
    $smime->setPublicKey([ map { content($_) } @papers ]);
    $result = $smime->encrypt($mail);
} else {
    die "no such action: $action\n";
}
open my $file, '>:raw', $output or die "$output: $!\n";
print $file $result;
close $file or die "$output: $!\n";
