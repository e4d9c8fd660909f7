// What bouncycastle.py asks of BouncyCastle: a server on stdin and stdout, so that the virtual
// machine starts once. A request is a list of byte strings, as is an answer; each is preceded
// by its length, the list by its number, four bytes each. An answer begins with "ok" or, when
// BouncyCastle threw something, with "refused" and what it said.
//
// Requests: verify ROOT MAIL, decrypt PKCS12 MAIL, sign PKCS12 KIND ENTITY,
// encrypt KIND ENTITY CERTIFICATE... Certificates are PEM. What is written are entities.

import java.io.*;
import java.nio.charset.StandardCharsets;
import java.security.*;
import java.security.cert.*;
import java.security.cert.Certificate;
import java.security.spec.*;
import java.util.*;
import javax.crypto.spec.*;
import javax.mail.*;
import javax.mail.internet.*;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.*;
import org.bouncycastle.cms.*;
import org.bouncycastle.cms.jcajce.*;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.mail.smime.*;
import org.bouncycastle.operator.*;
import org.bouncycastle.operator.jcajce.JcaAlgorithmParametersConverter;

public class BouncyCastle {
    static final String BC = "BC";
    static final char[] PASSWORD = "pw".toCharArray();
    static final Session SESSION = Session.getInstance(new Properties());
    static final ASN1ObjectIdentifier ECDH_HKDF_SHA256 =
        new ASN1ObjectIdentifier("1.2.840.113549.1.9.16.3.19");  // RFC 8418
    static final Map<String, ASN1ObjectIdentifier> CIPHERS = Map.of(
        "AES-128-CBC", CMSAlgorithm.AES128_CBC,
        "AES-256-GCM", CMSAlgorithm.AES256_GCM,
        "3DES", CMSAlgorithm.DES_EDE3_CBC,
        "RC2", CMSAlgorithm.RC2_CBC);

    public static void main(String[] arguments) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        var in = new DataInputStream(new BufferedInputStream(System.in));
        var out = new DataOutputStream(new BufferedOutputStream(System.out));
        System.setOut(System.err);
        while (true) {
            byte[][] request;
            try {
                request = receive(in);
            } catch (EOFException end) {
                return;
            }
            send(out, answer(request));
        }
    }

    static byte[][] receive(DataInputStream in) throws IOException {
        var parts = new byte[in.readInt()][];
        for (int n = 0; n < parts.length; n++) {
            parts[n] = in.readNBytes(in.readInt());
        }
        return parts;
    }

    static void send(DataOutputStream out, List<byte[]> parts) throws IOException {
        out.writeInt(parts.size());
        for (byte[] part : parts) {
            out.writeInt(part.length);
            out.write(part);
        }
        out.flush();
    }

    static List<byte[]> answer(byte[][] request) {
        try {
            var parts = new ArrayList<byte[]>(List.of("ok".getBytes()));
            parts.addAll(switch (text(request[0])) {
                case "version" -> List.of(BouncyCastleProvider.class.getPackage()
                    .getImplementationVersion().getBytes());
                case "verify" -> verify(certificate(request[1]), mail(request[2]));
                case "decrypt" -> List.of(decrypt(new Identity(request[1]), mail(request[2])));
                case "sign" -> List.of(
                    sign(new Identity(request[1]), text(request[2]), request[3]));
                case "encrypt" -> List.of(encrypt(text(request[1]), request[2],
                    Arrays.asList(request).subList(3, request.length)));
                default -> throw new IllegalArgumentException("no such request");
            });
            return parts;
        } catch (Exception error) {
            return List.of("refused".getBytes(), causes(error).getBytes());
        }
    }

    static String causes(Throwable error) {
        var said = new StringJoiner("; ");
        for (; error != null; error = error.getCause()) {
            said.add(error.toString());
        }
        return said.toString();
    }

    // reading

    static List<byte[]> verify(X509Certificate root, MimeMessage mail) throws Exception {
        var signed = mail.isMimeType("multipart/signed")
            ? new SMIMESigned((MimeMultipart) mail.getContent()) : new SMIMESigned(mail);
        var signers = signed.getSignerInfos().getSigners();
        if (signers.size() != 1) {
            throw new CMSException(signers.size() + " signers");
        }
        SignerInformation signer = signers.iterator().next();
        X509Certificate certificate = path(root, signed, signer);
        var verifier = new JcaSimpleSignerInfoVerifierBuilder().setProvider(BC);
        if (!signer.verify(verifier.build(certificate))) {
            throw new CMSException("the signature is not good");
        }
        return List.of(bytes(signed.getContent()), certificate.getSubjectX500Principal()
            .getName().getBytes(StandardCharsets.UTF_8));
    }

    /** The signer's certificate, if there is a path from the root. */
    @SuppressWarnings("unchecked")
    static X509Certificate path(X509Certificate root, SMIMESigned signed,
            SignerInformation signer) throws Exception {
        var certificates = new JcaCertStoreBuilder().setProvider(BC)
            .addCertificates(signed.getCertificates()).build();
        var selector = new JcaX509CertSelectorConverter().getCertSelector(signer.getSID());
        var parameters = new PKIXBuilderParameters(Set.of(new TrustAnchor(root, null)), selector);
        parameters.addCertStore(certificates);
        parameters.setRevocationEnabled(false);
        var built = CertPathBuilder.getInstance("PKIX", BC).build(parameters);
        return (X509Certificate) built.getCertPath().getCertificates().get(0);
    }

    static byte[] decrypt(Identity user, MimeMessage mail) throws Exception {
        boolean authenticated = mail.getContentType().contains("authEnveloped-data");
        var recipients = authenticated
            ? new CMSAuthEnvelopedData(mail.getInputStream()).getRecipientInfos()
            : new SMIMEEnveloped(mail).getRecipientInfos();
        var name = new JcaX509CertificateHolder(user.certificate);
        for (RecipientInformation recipient : recipients) {
            var id = recipient.getRID();
            if (id instanceof KeyTransRecipientId && ((KeyTransRecipientId) id).match(name)) {
                return recipient.getContent(authenticated
                    ? new JceKeyTransAuthEnvelopedRecipient(user.key).setProvider(BC)
                    : new JceKeyTransEnvelopedRecipient(user.key).setProvider(BC));
            }
            if (id instanceof KeyAgreeRecipientId && ((KeyAgreeRecipientId) id).match(name)) {
                return recipient.getContent(
                    new JceKeyAgreeEnvelopedRecipient(user.key).setProvider(BC));
            }
        }
        throw new CMSException("no recipient is the user");
    }

    // writing

    static byte[] sign(Identity user, String kind, byte[] entity) throws Exception {
        String algorithm = switch (kind) {
            case "pss" -> "SHA256withRSAandMGF1";
            case "ecdsa" -> "SHA256withECDSA";
            default -> "SHA256withRSA";
        };
        var generator = new SMIMESignedGenerator();
        generator.addSignerInfoGenerator(new JcaSimpleSignerInfoGeneratorBuilder()
            .setProvider(BC).build(algorithm, user.key, user.certificate));
        generator.addCertificates(new JcaCertStore(user.chain));
        var content = new MimeBodyPart(new ByteArrayInputStream(entity));
        if (kind.equals("opaque")) {
            return bytes(generator.generateEncapsulated(content));
        }
        var whole = new MimeBodyPart();
        whole.setContent(generator.generate(content));
        // A part gets its Content-Type when the message around it is saved.
        var message = new MimeMessage(SESSION);
        message.setContent(whole.getContent(), whole.getContentType());
        message.saveChanges();
        return bytes(message);
    }

    static byte[] encrypt(String kind, byte[] entity, List<byte[]> certificates)
            throws Exception {
        var recipients = new ArrayList<RecipientInfoGenerator>();
        for (byte[] one : certificates) {
            recipients.add(recipient(kind, certificate(one)));
        }
        var cipher = CIPHERS.getOrDefault(kind, CMSAlgorithm.AES256_CBC);
        var encryptor = new JceCMSContentEncryptorBuilder(cipher).setProvider(BC).build();
        if (encryptor instanceof OutputAEADEncryptor) {
            return authenticated(entity, recipients, (OutputAEADEncryptor) encryptor);
        }
        var generator = new SMIMEEnvelopedGenerator();
        recipients.forEach(generator::addRecipientInfoGenerator);
        var content = new MimeBodyPart(new ByteArrayInputStream(entity));
        return bytes(generator.generate(content, encryptor));
    }

    /** This version has no S/MIME around AuthEnvelopedData: it is put here. */
    static byte[] authenticated(byte[] entity, List<RecipientInfoGenerator> recipients,
            OutputAEADEncryptor encryptor) throws Exception {
        var generator = new CMSAuthEnvelopedDataGenerator();
        recipients.forEach(generator::addRecipientInfoGenerator);
        var cms = generator.generate(new CMSProcessableByteArray(entity), encryptor);
        var headers = new InternetHeaders();
        headers.addHeader("Content-Type",
            "application/pkcs7-mime; name=\"smime.p7m\"; smime-type=authEnveloped-data");
        headers.addHeader("Content-Transfer-Encoding", "base64");
        var base64 = Base64.getMimeEncoder().encode(cms.getEncoded());
        return bytes(new MimeBodyPart(headers, base64));
    }

    static RecipientInfoGenerator recipient(String kind, X509Certificate certificate)
            throws Exception {
        if (certificate.getPublicKey().getAlgorithm().equals("RSA")) {
            return kind.equals("RSA-OAEP")
                ? new JceKeyTransRecipientInfoGenerator(certificate, oaep()).setProvider(BC)
                : new JceKeyTransRecipientInfoGenerator(certificate).setProvider(BC);
        }
        KeyPairGenerator pairs;
        ASN1ObjectIdentifier agreement = CMSAlgorithm.ECDH_SHA256KDF;
        if (kind.equals("X25519")) {
            pairs = KeyPairGenerator.getInstance("X25519", BC);
            agreement = ECDH_HKDF_SHA256;
        } else {
            pairs = KeyPairGenerator.getInstance("EC", BC);
            pairs.initialize(
                ((java.security.interfaces.ECKey) certificate.getPublicKey()).getParams());
        }
        KeyPair ephemeral = pairs.generateKeyPair();
        return new JceKeyAgreeRecipientInfoGenerator(agreement, ephemeral.getPrivate(),
            ephemeral.getPublic(), CMSAlgorithm.AES256_WRAP)
            .addRecipient(certificate).setProvider(BC);
    }

    static AlgorithmIdentifier oaep() throws Exception {
        var parameters = new OAEPParameterSpec("SHA-256", "MGF1", MGF1ParameterSpec.SHA256,
            PSource.PSpecified.DEFAULT);
        return new JcaAlgorithmParametersConverter()
            .getAlgorithmIdentifier(PKCSObjectIdentifiers.id_RSAES_OAEP, parameters);
    }

    // bytes

    static String text(byte[] bytes) {
        return new String(bytes, StandardCharsets.UTF_8);
    }

    static MimeMessage mail(byte[] bytes) throws Exception {
        return new MimeMessage(SESSION, new ByteArrayInputStream(bytes));
    }

    static byte[] bytes(MimePart part) throws Exception {
        var out = new ByteArrayOutputStream();
        part.writeTo(out);
        return out.toByteArray();
    }

    static X509Certificate certificate(byte[] pem) throws Exception {
        return (X509Certificate) CertificateFactory.getInstance("X.509", BC)
            .generateCertificate(new ByteArrayInputStream(pem));
    }

    /** A key with its certificates. */
    static class Identity {
        final PrivateKey key;
        final X509Certificate certificate;
        final List<Certificate> chain;

        Identity(byte[] pkcs12) throws Exception {
            var store = KeyStore.getInstance("PKCS12", BC);
            store.load(new ByteArrayInputStream(pkcs12), PASSWORD);
            String alias = null;
            for (String name : Collections.list(store.aliases())) {
                alias = store.isKeyEntry(name) ? name : alias;
            }
            key = (PrivateKey) store.getKey(alias, PASSWORD);
            chain = List.of(store.getCertificateChain(alias));
            certificate = (X509Certificate) chain.get(0);
        }
    }
}
